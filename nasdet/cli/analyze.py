"""`nasdet analyze`. One decision: an analysis is one module of `nasdet.cli.analyses` and one entry here."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

# --what -> one line for --help; the module of that name runs it
ANALYSES: dict[str, str] = {
    "report": "a study as one page to read: front, progress, what mattered, what failed, what to do next",
    "importance": "which parameters of a study mattered for each objective",
}


@click.command("analyze", epilog="\n\n".join(f"{name}: {text}" for name, text in ANALYSES.items()))
@click.argument("target", required=False, metavar="[STUDY|BUNDLE]")
@click.option("--what", type=click.Choice(list(ANALYSES)), required=True, help="What to look at; see below.")
@click.option("--data", metavar="SRC", help="Data set; left out: the one that the study or bundle was made on.")
@click.option("--split", default="val", show_default=True, help="train, val or test.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the files; left out: in the study or bundle.")
@click.option("--with", "other", type=click.Path(path_type=Path), help="A second bundle to compare with (spectrum).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(
    target: str | None,
    what: str,
    data: str | None,
    split: str,
    out: Path | None,
    other: Path | None,
    as_json: bool,
) -> None:
    """Look into a study (left out: the newest) or into a bundle; pictures and tables are written to a folder.

    \b
    Example:
      nasdet analyze --what report
      nasdet analyze best --what errors --data digits
    """
    from nasdet.cli.analyses import Request
    from nasdet.cli.output import print_json

    analysis = importlib.import_module(f"nasdet.cli.analyses.{what}")
    result = analysis.run(Request(target, data, split, out, other))
    print_json(result) if as_json else click.echo("\n".join(analysis.told(result)))
