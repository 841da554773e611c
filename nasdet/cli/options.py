"""Options that several commands share; a wrong value is an error that names its option and shows a right one."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from nasdet.errors import InputError

SEEDS_HELP = "Then train the front again with this many further seeds; those that are done count."


def tile_options(command: Callable[..., None]) -> Callable[..., None]:
    """--tile and --overlap."""
    size = click.option("--tile", metavar="SIZE|auto", help="Cut images into overlapping tiles of SIZE pixels.")
    overlap = click.option("--overlap", type=click.IntRange(min=0), metavar="PIXELS", help="  [default: SIZE / 4]")
    return size(overlap(command))


def stage_options(command: Callable[..., None]) -> Callable[..., None]:
    """--repeat-front and --baseline: what a study does after its search."""
    repeat = click.option("--repeat-front", type=click.IntRange(min=0), default=0, metavar="SEEDS", help=SEEDS_HELP)
    what = "Then spend the same budget on random search."
    return repeat(click.option("--baseline", type=click.Choice(["random"]), help=what)(command))


def parse_numbers(text: str, option: str) -> tuple[float, ...]:
    """The numbers of a text such as 0.75,1,1.5."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"{text!r} is no list of numbers", where=option, remedy="write for example 0.75,1,1.5"
        ) from None


def complete_path(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For arguments that may be a path or a name: the shell completes them as paths."""
    return [CompletionItem(incomplete, type="file")]


data_option = click.option(
    "--data",
    required=True,
    metavar="SRC",
    shell_complete=complete_path,
    help="digits, a folder in COCO, VOC or YOLO layout, or a YAML.",
)
"""The data set of a command that cannot go without one."""
