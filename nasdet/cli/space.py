"""`nasdet space`."""

from __future__ import annotations

from pathlib import Path

import click

from nasdet.cli.options import data_option


@click.command("space")
@data_option
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it there  [default: print it]")
@click.option("--time-limit", metavar="TIME", default="1h", show_default=True, help="Of the search it is meant for.")
@click.option("--train", is_flag=True, help="Of which two thirds are for the training of the winner.")
def command(data: str, out: Path | None, time_limit: str, train: bool) -> None:
    """Write the search space that follows from a data set, this machine and the time, with the reason of each decision.

    nasdet search without SPACE searches it; a file may be changed first.

    \b
    Example:
      nasdet space --data ./my_images --out my.yaml
      nasdet search my.yaml --data ./my_images
    """
    from nasdet.api.arguments import seconds_of
    from nasdet.driver.auto_space.annotated_yaml import annotated_yaml
    from nasdet.driver.auto_space.auto import space_for
    from nasdet.errors import InputError
    from nasdet.export.bundle import writing

    if out is not None and out.exists():
        raise InputError("exists already", where=str(out), remedy="name another --out")
    text = annotated_yaml(space_for(data, seconds=seconds_of(time_limit, "--time-limit"), train=train))
    if out is None:
        click.echo(text, nl=False)
        return
    with writing(out):
        out.write_text(text)
    click.echo(f"written: {out}; next: nasdet search {out} --data {data}")
