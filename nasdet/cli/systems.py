"""`nasdet systems`."""

from __future__ import annotations

from typing import Any

import click


@click.command("systems")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(as_json: bool) -> None:
    """The detectors of the literature that can be trained or searched by name, with their sizes.

    \b
    Example:
      nasdet systems
      nasdet train dsod300 --data ./my_images --out dsod
    """
    from nasdet.cli.output import print_json
    from nasdet.driver.systems import describe_all

    systems = describe_all()
    if as_json:
        print_json({"systems": systems})
        return
    _print_table(systems)


def _print_table(systems: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("system", "input", "params", "published", "counts", "GMACs", "published init", "recipe"):
        table.add_column(name, justify="right" if name in ("params", "published", "GMACs") else "left")
    for one in systems:
        height, width = one["input"]
        published = f"{one['published_params'] / 1e6:.2f}M" if one["published_params"] else "-"
        table.add_row(
            one["name"], f"{height}x{width}", f"{one['params'] / 1e6:.2f}M", published, one["counts"].replace("_", " "),
            f"{one['macs'] / 1e9:.2f}", one["init"], one["recipe"],
        )  # fmt: skip
    Console(width=None if Console().is_terminal else 160).print(table)
    click.echo("sources, results and notes: nasdet systems --json; train one: nasdet train NAME --data SRC --out DIR")
