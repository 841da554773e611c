"""`python -m nasdet`."""

from nasdet.cli.main import main

main()
