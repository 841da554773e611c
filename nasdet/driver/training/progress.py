"""What a person sees of a training in full: a progress bar on a terminal, elsewhere a line for each evaluation."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nasdet.models.pretrained import InitReport
from nasdet.trainers.messages import Reply


class TrainingProgress:
    """Takes the replies of a training; the stream is the terminal, which is not always standard error."""

    def __init__(self) -> None:
        self._bar: Progress | None = None

    def loaded(self, report: InitReport, stream: TextIO) -> None:
        """What was loaded from a checkpoint: counts and the first names; init.json lists all of them."""
        print(f"init {report.source}: {report.summary}, matched by {report.rule}", file=stream)
        for what, unmatched in (
            ("of the file not used", report.unmatched_file),
            ("of the backbone not loaded", [n for n in report.unmatched_detector if n.name.startswith("backbone.")]),
        ):
            if unmatched:
                shown = ", ".join(f"{n.name} {list(n.shape)}" for n in unmatched[:3])
                more = f" and {len(unmatched) - 3} more" if len(unmatched) > 3 else ""
                print(f"  {len(unmatched)} {what}: {shown}{more}", file=stream)

    def show(self, reply: Reply, stream: TextIO) -> None:
        """One epoch is over."""
        if reply.kind != "epoch":
            return
        values, total = reply.values, int(reply.values["epochs"])
        is_first = self._bar is None
        bar = self._bar = self._bar or _begin(stream, total)
        if is_first and values.get("recompute"):
            bar.console.print("activations are computed again for the gradient: a step takes longer and less memory")
        bar.update(bar.task_ids[0], completed=reply.epoch, total=total, description=f"loss {values['loss']:.3f}")
        if "ap" in values:
            figures = f"AP {values['ap']:.4f}  AP50 {values['ap50']:.4f}"
            bar.console.print(f"epoch {reply.epoch:>4}/{total}  loss {values['loss']:.3f}  {figures}")

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()


def _begin(stream: TextIO, total: int) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} epochs"))
    # Rich would show its own widgets in a notebook, whatever the stream.
    console = Console(file=stream, highlight=False, soft_wrap=not stream.isatty(), force_jupyter=False)
    # Where the stream is not standard error, that leads to a log, and messages of libraries must stay there.
    is_own = stream is sys.stderr
    bar = Progress(*columns, TimeRemainingColumn(), console=console, redirect_stdout=is_own, redirect_stderr=is_own)
    bar.add_task("training", total=total)
    if console.is_terminal:
        bar.start()
    return bar
