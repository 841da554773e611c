"""The project's own figures, each a script with --json."""
