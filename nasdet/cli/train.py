"""`nasdet train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from nasdet.trainers.job import Reply


@click.command("train")
@click.argument("source", type=click.Path(path_type=Path), metavar="SPEC|BUNDLE")
@click.option("--data", required=True, metavar="SRC", help="digits, a folder in COCO, VOC or YOLO layout, or a YAML.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the trained bundle.")
@click.option("--epochs", type=click.IntRange(min=1), help="Length of the training; default 72, a 6x schedule.")
@click.option("--time-limit", metavar="TIME", help="Train as many epochs as fit: 20m, 1h30m.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes (DDP).")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--resume", is_flag=True, help="Go on with the training in --out.")
@click.option("--address", metavar="RAY", help="Ray cluster to train on; left out: this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(
    source: Path,
    data: str,
    out: Path,
    epochs: int | None,
    time_limit: str | None,
    workers: int,
    seed: int,
    resume: bool,
    address: str | None,
    as_json: bool,
) -> None:
    """Train a bundle, or a spec.json, from random initialisation; OUT is a bundle of the best weights.

    \b
    Example:
      nasdet train best --data digits --out best-full --epochs 60
      nasdet train best --data ./my_images --out best-full --time-limit 2h --workers 2
    """
    from nasdet.cli.options import parse_duration
    from nasdet.cli.output import print_json
    from nasdet.data import open_data
    from nasdet.driver.train import read_source, train_detector
    from nasdet.errors import InputError, NasdetError

    if epochs is not None and time_limit is not None:
        raise InputError("--epochs and --time-limit exclude each other", remedy="give one of them")
    loaded = read_source(source)
    dataset = open_data(data)
    board = _Board()
    try:
        result = train_detector(
            loaded,
            dataset,
            out,
            epochs=epochs,
            time_limit=parse_duration(time_limit, "--time-limit"),
            workers=workers,
            seed=seed,
            resume=resume,
            address=address,
            report=board.show,
        )
    except KeyboardInterrupt:
        again = f"nasdet train {source} --data {data} --out {out} --resume"
        error = NasdetError(f"interrupted; the last epoch is kept. Go on with: {again}")
        error.exit_code = 130
        raise error from None
    finally:
        board.close()
    if as_json:
        print_json({"bundle": str(out), **result})
        return
    click.echo(
        f"best of {result['epochs']} epochs: epoch {result['epoch']:.0f}, AP {result['ap']:.4f}, "
        f"AP50 {result['ap50']:.4f} on val ({result['seconds']:.0f} s) -> {out}"
    )
    click.echo(f"next: nasdet eval {out} --data {data} --split test")


class _Board:
    """A progress bar on a terminal; a line per evaluation elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} epochs"))
        self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console)
        self._task: Any = None

    def show(self, reply: Reply) -> None:
        """One epoch is over."""
        if reply.kind != "epoch":
            return
        values, total = reply.values, int(reply.values["epochs"])
        if self._task is None:
            self._task = self._bar.add_task("training", total=total)
            if self._console.is_terminal:
                self._bar.start()
        self._bar.update(self._task, completed=reply.epoch, total=total, description=f"loss {values['loss']:.3f}")
        if "ap" in values:
            figures = f"AP {values['ap']:.4f}  AP50 {values['ap50']:.4f}"
            self._bar.console.print(f"epoch {reply.epoch:>4}/{total}  loss {values['loss']:.3f}  {figures}")

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bar.stop()
