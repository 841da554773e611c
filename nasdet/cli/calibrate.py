"""`nasdet calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nasdet.cli.options import complete_path


@click.command("calibrate")
@click.argument("space", metavar="SPACE", shell_complete=complete_path)
@click.option("--data", metavar="SRC", shell_complete=complete_path, help="Data set; left out, the space's own.")
@click.option("--models", type=click.IntRange(4), default=12, show_default=True, help="Candidates to train in full.")
@click.option("--study", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the study.")
@click.option("--max-epochs", type=click.IntRange(min=2), metavar="N", help="Epochs of a full training.")
@click.option("--write", is_flag=True, help="Put the result and the rungs that follow from it into SPACE.")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Change one value of the space.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    space: str,
    data: str | None,
    models: int,
    study: Path | None,
    max_epochs: int | None,
    write: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train spread candidates of SPACE in full and see how early their order is known (Kendall's tau).

    A search stops candidates by their rank after a short training; this tells whether that rank can be trusted, and the
    shortest training that keeps tau at 0.7.

    \b
    Example:
      nasdet calibrate search_spaces/detnet.yaml
      nasdet calibrate my_space.yaml --data ./my_images --models 16 --write
    """
    from nasdet.cli.output import print_json
    from nasdet.driver.calibrate import calibrate, write_calibration
    from nasdet.driver.study.options import SearchOptions
    from nasdet.driver.study.warm_start import with_start
    from nasdet.errors import InputError
    from nasdet.space import load_space
    from nasdet.space.bundled_spaces import find_space

    loaded = with_start(load_space(space, overrides=overrides)).with_budget(epochs=max_epochs)
    if write and loaded.budget.epochs != (own := load_space(space).budget.epochs):
        what = f"trains for {loaded.budget.epochs} epochs, and {space} for {own}: its rungs cannot follow from that"
        remedy = f"set budget.epochs: {loaded.budget.epochs} in it first, or leave --write out"
        raise InputError(what, where="--write", remedy=remedy)
    result = calibrate(loaded, SearchOptions(data, study), models)
    try:
        if write:
            result["rungs"] = list(write_calibration(find_space(space), result, max(2, loaded.scheduler.eta)))
    finally:
        print_json(result) if as_json else _print(result)


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(
        f"{result['models']} candidates in the order of {result['objective']} after {result['epochs']} epochs"
    )
    table = Table("epochs", "share of the cost", "Kendall's tau", "95% interval", box=None)
    for row in result["fidelities"]:
        cells = f"{row['epochs']}", f"{row['cost']:.0%}", f"{row['tau']:.2f}", f"{row['low']:.2f} to {row['high']:.2f}"
        table.add_row(*cells)
    console.print(table)
    if result["cheapest"] is None:
        console.print("no shorter training ranks well enough (tau 0.7): train in full (scheduler: {kind: full})")
    elif "rungs" in result:
        console.print(f"written: budget.rungs {result['rungs']}")
    else:
        console.print(f"rank after {result['cheapest']} epochs; --write puts that into the space")
