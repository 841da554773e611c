"""What a search is asked for, how it is shown, and how its interruption is reported."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TextIO

from nasdet.driver.observers.base import Observer
from nasdet.errors import NasdetError
from nasdet.search.records.extension import NOTHING, More

MAX_FAILURES_IN_A_ROW = 5
"""Failed trials in a row, with no successful one between them, that end a search."""

DEFAULT_SECONDS = 3600.0
"""Of a search whose space follows from the data, without a time limit."""
PICKED, TRAINED = "picked", "trained"
"""Folders in the study: the trial that was picked, as a bundle, and that bundle trained in full."""
SEARCH_SHARE = 1 / 3
"""Of the time limit, where the winner is trained in the rest."""


def split_time(limit: float) -> tuple[float, float]:
    """Seconds of a search and of the training of its winner."""
    return limit * SEARCH_SHARE, limit * (1 - SEARCH_SHARE) - seconds_for_the_end(limit)


def seconds_for_the_end(limit: float) -> float:
    """What the test figures and the ONNX files may take of a time limit."""
    return min(0.05 * limit, 60.0)


class Interrupted(NasdetError):
    """The user pressed Ctrl-C; everything finished is kept. Exit code 130."""

    exit_code = 130


def interrupted(study: Path) -> Interrupted:
    """The error that says how to go on with a study."""
    again = shlex.join(["nasdet", "resume", str(study)])
    return Interrupted(f"interrupted; finished trials are kept. Go on with: {again}")


@dataclasses.dataclass(frozen=True)
class SearchOptions:
    """What a search needs besides its space."""

    data: str | None = None
    """Data set as `--data` takes it; None: the space's own."""
    study: Path | None = None
    """Folder of the new study; None: one under the study root, named after the space and the time."""
    address: str | None = None
    """Ray cluster; None: this machine, or the Ray that this process has started already."""
    tracking_uri: str | None = None
    """MLflow store; None: SQLite beside the study."""
    storage: str | None = None
    """Optuna storage; None: SQLite in the study folder."""
    repeat_front: int = 0
    """Further seeds with which the front is trained again after the search."""
    baseline: bool = False
    """Whether random search spends the same budget after the search."""
    or_resume: bool = False
    """Whether to go on with the study in `study` if there is one."""
    train: str = ""
    """Which trial is trained in full afterwards, as `--pick` takes it; empty: none."""


@dataclasses.dataclass(frozen=True)
class ResumeOptions:
    """What a study that goes on is asked for beyond what it was asked for before; None, 0 and False change nothing."""

    repeat_front: int = 0
    """Further seeds with which the front is trained again; fewer than before take nothing away."""
    baseline: bool = False
    """Whether random search spends the same budget after the search."""
    more: More = NOTHING
    """What the search may spend from now on."""
    data: str | None = None
    """Where the data set is now."""
    address: str | None = None
    """Ray cluster on which it goes on."""
    storage: str | None = None
    """Where the Optuna storage is now."""
    train: str = ""
    """Which trial is trained in full afterwards, unless one has been picked already."""


AS_BEFORE = ResumeOptions()


@dataclasses.dataclass(frozen=True)
class Display:
    """How a running study is shown, and who else observes it."""

    observers: tuple[Observer, ...] = ()
    """Called for every event, in this order; one that raises is reported once and ends nothing."""
    output: TextIO | None = None
    """Where progress is written; None: standard error, or standard output where nothing is redirected."""
    redirect: bool = True
    """Whether file descriptors 1 and 2 lead to the study's log.txt meanwhile, so that messages of Ray, Optuna and
    MLflow do not disturb the progress. False for notebooks and scripts that print themselves."""

    @property
    def stream(self) -> TextIO:
        """`output`, with its default filled in."""
        return self.output or (sys.stderr if self.redirect else sys.stdout)


TERMINAL = Display()
"""As the command line shows a study."""
