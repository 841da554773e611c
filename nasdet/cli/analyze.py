"""`nasdet analyze`: an analysis is one module of `nasdet.cli.analyses` and one entry here."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click

from nasdet.cli.options import complete_path

# --what -> one line for --help; the module of that name runs it
ANALYSES: dict[str, str] = {
    "report": "of a study: one page to read: front, progress, what mattered, what failed, what to do next.",
    "importance": "of a study: which parameters mattered for each objective.",
    "errors": "of a bundle: what it gets wrong (TIDE), what that costs, where, and the worst images.",
    "spectrum": "of a bundle: how much of its width each layer uses, beside a second one, and narrower widths.",
    "convergence": "train from random initialisation and from --init, for several lengths and amounts of data.",
}
# option -> the analysis that it belongs to
OWN: dict[str, str] = {
    "other": "spectrum",
    "init": "convergence",
    "epochs": "convergence",
    "schedules": "convergence",
    "fractions": "convergence",
    "seeds": "convergence",
}


@click.command("analyze", epilog="\n\n".join(f"{name}: {text}" for name, text in ANALYSES.items()))
@click.argument("target", required=False, metavar="[STUDY|BUNDLE]", shell_complete=complete_path)
@click.option("--what", type=click.Choice(list(ANALYSES)), required=True, help="What to look at; see below.")
@click.option(
    "--data",
    metavar="SRC",
    shell_complete=complete_path,
    help="Data set; left out: the one that the study or bundle was made on.",
)
@click.option("--split", default="val", show_default=True, help="train, val or test.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the files; left out: in the study or bundle.")
@click.option("--with", "other", type=click.Path(path_type=Path), help="A second bundle to compare with (spectrum).")
@click.option("--init", metavar="FILE|timm:NAME", help="The start to compare random initialisation with (convergence).")
@click.option("--epochs", type=click.IntRange(min=1), help="Of the shortest training (convergence)  [default: 12]")
@click.option("--schedules", metavar="X,X", help="Lengths as multiples of --epochs (convergence)  [default: 1,2,3,6]")
@click.option("--fractions", metavar="%,%", help="Of the training images (convergence)  [default: 100,30,10,1]")
@click.option("--seeds", type=click.IntRange(min=1), help="Trainings of each kind (convergence)  [default: 1]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(what: str, as_json: bool, **options: Any) -> None:
    """Look into a study (left out: the newest) or into a bundle; pictures and tables are written to a folder.

    \b
    Example:
      nasdet analyze --what report
      nasdet analyze best --what errors --data digits
      nasdet analyze best --what convergence --init checkpoint.pth --fractions 100,10
    """
    from nasdet.cli.analyses import Request
    from nasdet.cli.output import print_json
    from nasdet.errors import InputError

    for name, analysis in OWN.items():
        if options[name] is not None and what != analysis:
            option = "--with" if name == "other" else f"--{name}"
            raise InputError(f"has no meaning with --what {what}, only with {analysis}", where=option)
    module = importlib.import_module(f"nasdet.cli.analyses.{what}")
    result = module.run(Request(**options))
    print_json(result) if as_json else click.echo("\n".join(module.lines_of(result)))
