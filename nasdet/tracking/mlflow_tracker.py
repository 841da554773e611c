"""`MlflowTracker`: keeps MLflow up to date with a running study, in a thread of its own.

The caller never waits for MLflow. The thread looks at the study's records every few seconds and writes what MLflow
lacks. A store that fails is tried again with growing pauses; what it still lacks in the end is reported.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from nasdet.tracking.mlflow_client import quiet_mlflow
from nasdet.tracking.mlflow_runs import STATUS, Front, Point, StudyInfo, StudyRuns
from nasdet.trial import TrialRecord
from nasdet.uris import default_uri, public_uri

Status = Literal["FINISHED", "FAILED", "KILLED"]
PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Seconds before a store that failed is tried again."""
LAST_TRIES = 3
MAX_PAUSE = 600.0
"""Longest time in seconds between two measurements of the front."""
FRONT_SHARE = 0.02
"""Of the time, for measuring and drawing the front: it takes a core away from a training."""


class MlflowTracker:
    """One study in MLflow; the thread starts with the object, and imports MLflow, which takes seconds.

    Args:
        uri: tracking URI; None: SQLite in the study's parent folder.
        study: the study.
        records: called on the thread for the study's present records.
        front: called on the thread for the present front; None: there is none yet.
        warn: called on the thread with one line if the store fails, or the front cannot be measured or drawn.
        seconds: between two looks at the records.
        front_seconds: the front, its ranks and its files are brought up to date at most this often, and so seldom that
            it takes at most `FRONT_SHARE` of the time (but every `MAX_PAUSE`), and at the end.
    """

    def __init__(
        self,
        uri: str | None,
        study: StudyInfo,
        records: Callable[[], Sequence[TrialRecord]],
        front: Callable[[], Front | None],
        *,
        warn: Callable[[str], None] = lambda line: None,
        seconds: float = 2.0,
        front_seconds: float = 30.0,
    ) -> None:
        self.uri = uri or default_uri(study.folder)
        self._study, self._records, self._front, self._warn = study, records, front, warn
        self._seconds, self._front_seconds = seconds, front_seconds
        self._epochs: deque[tuple[str, Point]] = deque()
        self._front_changed, self._closing = threading.Event(), threading.Event()
        self._outcome, self._problem, self._whole = "", "", False
        self._runs: StudyRuns | None = None
        self._front_due = float("-inf")
        self._warned: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="nasdet-mlflow", daemon=True)
        self._thread.start()

    def epoch(self, trial: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add the metrics of one epoch (counted from 1) to a trial's history; the study itself does not keep them."""
        now = int(1000 * time.time())
        self._epochs.extend((trial, Point(name, epoch, value, now)) for name, value in metrics.items())

    def front_changed(self) -> None:
        """A trial has ended: the front may be another."""
        self._front_changed.set()

    def close(self, outcome: Status = "FINISHED", *, timeout: float = 60.0) -> str:
        """Write what is left and end the parent run.

        Returns:
            "" if MLflow holds everything, else one line that says what is missing and why.
        """
        self._outcome = outcome
        self._closing.set()
        self._thread.join(timeout)
        parts = [f"MLflow at {public_uri(self.uri)} lacks results of {_some(self._lacking())}"] * (not self._whole)
        refused = self._runs.refused if self._runs else {}
        parts += [f"MLflow refused {name}: {reason}" for name, reason in list(refused.items())[:3]]
        return "; ".join(parts) + (f" ({self._problem})" if parts and self._problem else "")

    def _lacking(self) -> list[str]:
        """Names of runs that are not up to date."""
        runs, trials = self._runs, [record for record in self._records() if record.state in STATUS]
        return [self._study.name, *(r.trial for r in trials if runs is None or not runs.holds(r, ended=True))]

    def _work(self) -> None:
        """The thread's whole life: until closed and written, or closed and failing again."""
        failures = 0
        with quiet_mlflow(self._study.folder / "logs" / "mlflow.log"):
            while True:
                outcome = self._outcome  # read before the records, which are then the last ones
                try:
                    self._sync(outcome)
                    failures, self._problem = 0, ""
                except Exception as error:  # whatever MLflow, its driver or the network raises: the search goes on
                    failures += 1
                    self._failed(error)
                if outcome and (failures == 0 or failures >= LAST_TRIES):
                    return
                self._closing.wait(PAUSES[min(failures, len(PAUSES)) - 1] if failures else self._seconds)

    def _sync(self, outcome: str) -> None:
        self._runs = self._runs or StudyRuns(self.uri, self._study, self._warn_once)
        begin = time.monotonic()
        measure = bool(outcome) or (self._front_changed.is_set() and begin >= self._front_due)
        front, known = self._measure() if measure else (None, True)
        try:
            self._runs.sync(self._records(), self._epochs, front, outcome)
        except Exception:
            self._front_changed.set()
            raise
        if measure:
            end = time.monotonic()
            self._front_due = end + min(max(self._front_seconds, (end - begin) / FRONT_SHARE), MAX_PAUSE)
        self._whole = bool(outcome) and known

    def _measure(self) -> tuple[Front | None, bool]:
        """The front, and whether it could be measured; a failure is reported once and costs nothing else."""
        self._front_changed.clear()
        try:
            return self._front(), True
        except Exception as error:
            self._warn_once(f"the front could not be measured ({type(error).__name__}: {error})")
            return None, False

    def _failed(self, error: Exception) -> None:
        # The first line of an error, without the pages that drivers add and without passwords.
        lines = str(error).strip().splitlines()
        self._problem = public_uri(lines[0] if lines else type(error).__name__)[:300]
        self._warn_once(
            f"MLflow at {public_uri(self.uri)} does not answer; the study itself lacks nothing ({self._problem})"
        )

    def _warn_once(self, line: str) -> None:
        about = line.partition(" (")[0]
        if about not in self._warned:
            self._warned.add(about)
            self._warn(line)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more runs" if len(names) > 3 else "")
