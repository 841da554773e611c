"""`MlflowTracker`: mirrors a running study in MLflow.

One decision: the caller never waits for MLflow. Every call leaves an event in a queue; one thread takes all events
that have come, folds them into what each run should hold, and writes the differences in batches. A store that fails is
tried again with growing pauses, and what it still lacks at the end is said.
"""

from __future__ import annotations

import contextlib
import json
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from nasdet.tracking.buffer import RunBuffer
from nasdet.tracking.mirror import Front, Mirror
from nasdet.tracking.runs_file import PARENT
from nasdet.tracking.store import RunStore
from nasdet.trial import TrialRecord
from nasdet.uris import default_uri, public_uri

Status = Literal["FINISHED", "FAILED", "KILLED"]
PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0)
MAX_PAUSE = 600.0
"""Seconds between two looks at the front, however long they take."""


class MlflowTracker:
    """One study in MLflow: an experiment for the space, a parent run for the study, a nested run for each trial.

    The thread starts with the object, so that the import of mlflow (seconds) overlaps with whatever the caller does
    next. On a resumed study, pass every known record to `trial` again: only what the store lacks is written.

    Args:
        uri: tracking URI; None: SQLite in the study's parent folder.
        space_name: name of the search space, and of the experiment.
        study_name: name of the study, and of the parent run.
        study_dir: the study's folder.
        warn: called with one line when the store starts to fail; from the tracker's thread.
        front_seconds: the front, its ranks and its files are brought up to date at most this often, so seldom that it
            takes at most a tenth of the time (or every ten minutes), and at the end.
    """

    def __init__(
        self,
        uri: str | None,
        space_name: str,
        study_name: str,
        study_dir: Path,
        *,
        warn: Callable[[str], None] | None = None,
        front_seconds: float = 30.0,
    ) -> None:
        self.uri = uri or default_uri(study_dir)
        self._names = (space_name, study_name, study_dir)
        self._warn = warn or (lambda line: None)
        self._front_seconds = front_seconds
        self._mirror = Mirror(study_name, study_dir)
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._started, self._closing = threading.Event(), threading.Event()
        self._problem, self._missing = "", list[str]()
        self._said: set[str] = set()
        self._front_due = float("-inf")
        self._thread = threading.Thread(target=self._work, name="nasdet-mlflow", daemon=True)
        self._thread.start()

    def start(self, config: Mapping[str, Any], space_yaml: str, *, timeout: float = 60.0) -> str:
        """Find or make the study's parent run.

        Args:
            config: the study's settings; nested mappings become dotted parameters.
            space_yaml: text of the search space, kept as artifact `space.yaml`.
            timeout: seconds to wait for the store; the only call that waits, besides `close`.

        Returns:
            Run id of the parent; "" if the store did not answer in time (the tracker goes on trying).
        """
        self._events.put(lambda: self._mirror.start(config, space_yaml))
        self._started.wait(timeout)
        return self.parent_run_id

    def trial(self, record: TrialRecord) -> None:
        """Bring a trial's nested run up to its record; infeasible and duplicate proposals have no run."""
        self._events.put(lambda: self._mirror.trial(record))

    def epoch(self, trial: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add the metrics of one epoch (counted from 1) to a trial's history."""
        values = dict(metrics)
        self._events.put(lambda: self._mirror.epoch(trial, epoch, values))

    def front(self, measure: Callable[[], Front]) -> None:
        """Say that the front may have changed: the ranks, the parent's metrics, note and files will follow it.

        Args:
            measure: tells the front; called on the tracker's thread, not for every call of `front`.
        """
        self._events.put(lambda: setattr(self._mirror, "measure", measure))

    @property
    def parent_run_id(self) -> str:
        """Run id of the study's parent run; "" while the store has not made it."""
        return self._mirror.parent.run_id

    def run_id(self, trial: str) -> str:
        """Run id of a trial; "" while the store has not made its run."""
        run = self._mirror.runs.get(trial)
        return run.run_id if run else ""

    def close(self, status: Status = "FINISHED", *, timeout: float = 60.0) -> str:
        """Write what is left and end the parent run.

        Returns:
            "" if MLflow holds everything, else one line that says what is missing and why.
        """
        self._events.put(lambda: self._mirror.end(status))
        self._closing.set()
        self._events.put(lambda: None)
        self._thread.join(timeout)
        mirror = self._mirror
        lacking = [mirror.parent.name] if mirror.parent.pending() or mirror.measure else []
        lacking += [run.name for run in list(mirror.touched.values()) if run.pending()]
        lacking += ["the front's models"] if mirror.lacks_models and not lacking else []
        if not lacking and not self._missing:
            return ""
        parts = [f"MLflow at {public_uri(self.uri)} lacks results of {_some(lacking)}"] if lacking else []
        parts += [f"MLflow refused {line}" for line in self._missing[:3]]
        return "; ".join(parts) + (f" ({self._problem})" if self._problem else "")

    def _work(self) -> None:
        """The thread: until closed and written, or closed and failing again."""
        store: RunStore | None = None
        failures = 0
        with tempfile.TemporaryDirectory(prefix="nasdet-front-") as folder:
            while True:
                if failures:
                    self._closing.wait(PAUSES[min(failures, len(PAUSES)) - 1])
                self._fold_events(0.0 if failures or self._closing.is_set() else self._front_seconds)
                closing = self._closing.is_set()
                if closing:
                    self._fold_events(0.0)  # what came before that was set, and after the queue was empty
                try:
                    store = store or RunStore(self.uri, *self._names)
                    self._write(store, Path(folder), last=closing)
                    failures, self._problem = 0, ""
                except Exception as error:  # whatever MLflow, its driver or the network raises: the search goes on
                    failures += 1
                    self._failed(error, first=failures == 1)
                if closing and (failures == 0 or failures > 2):
                    return

    def _fold_events(self, wait: float) -> None:
        """Take all events that have come, waiting up to `wait` seconds for a first one."""
        with contextlib.suppress(queue.Empty):
            self._events.get(timeout=max(wait, 0.001))()
            while True:
                self._events.get_nowait()()

    def _write(self, store: RunStore, folder: Path, *, last: bool) -> None:
        mirror = self._mirror
        if not mirror.known:
            return
        store.ensure(PARENT, mirror.parent, "")
        self._started.set()
        begin = time.monotonic()
        measure = mirror.measure if last or begin >= self._front_due else None
        if measure is not None:
            self._measure(measure, folder)
        for trial, run in list(mirror.touched.items()):
            if run.pending():
                self._write_run(store, trial, run)
            del mirror.touched[trial]
        if mirror.parent.pending():
            self._write_run(store, PARENT, mirror.parent)
        if last and mirror.lacks_models:
            store.write_models(mirror.members(), self._missing.append)
            mirror.lacks_models = False
        if measure is not None:
            end = time.monotonic()
            self._front_due = end + min(max(self._front_seconds, 9 * (end - begin)), MAX_PAUSE)

    def _write_run(self, store: RunStore, trial: str, run: RunBuffer) -> None:
        store.ensure(trial, run, self._mirror.parent.run_id if trial != PARENT else "")
        store.write(run, self._missing.append)

    def _measure(self, measure: Callable[[], Front], folder: Path) -> None:
        """A front that cannot be measured or drawn is said once and costs nothing else."""
        mirror, doing = self._mirror, "measured"
        try:
            front = measure()
            changed, mirror.measure = mirror.front(front), None
            if not changed:
                return
            mirror.parent.files["front.json"] = json.dumps(front.summary, indent=1)
            doing = "drawn"
            front.draw(folder)
        except Exception as error:
            if doing not in self._said:
                self._warn(f"the front could not be {doing} ({type(error).__name__}: {error})")
            self._said.add(doing)
        mirror.parent.files.update({path.name: path for path in folder.iterdir()})

    def _failed(self, error: Exception, *, first: bool) -> None:
        self._problem = _reason(error)
        if first:
            where = public_uri(self.uri)
            self._warn(f"MLflow at {where} does not answer; the study itself lacks nothing ({self._problem})")


def _reason(error: Exception) -> str:
    """The first line of an error, without the pages that drivers add and without passwords."""
    lines = str(error).strip().splitlines()
    return public_uri(lines[0] if lines else type(error).__name__)[:300]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more runs" if len(names) > 3 else "")
