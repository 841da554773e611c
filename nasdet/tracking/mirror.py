"""`Mirror`: what MLflow should say of a study. One decision: no input or output here; records and summaries go in,
run buffers come out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nasdet.pareto import FrontStep, non_dominated_rank
from nasdet.tracking.buffer import FILES_TAG, MAX_TAG, RunBuffer
from nasdet.tracking.note import study_note
from nasdet.tracking.runs_file import PARENT
from nasdet.trial import TrialRecord

STATUS = {"running": "RUNNING", "paused": "SCHEDULED", "complete": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class Front(NamedTuple):
    """The front as of now."""

    summary: dict[str, Any]
    """The object that `nasdet search --json` prints."""
    history: Sequence[FrontStep]
    """The front after each finished trial."""
    draw: Callable[[Path], None]
    """Leaves pareto.html and pareto.png in the folder that it is given."""


class Mirror:
    """The runs of a study as they should be; used by the tracker's thread only.

    Args:
        study_name: name of the parent run.
        study_dir: named in the parent run's description.
    """

    def __init__(self, study_name: str, study_dir: Path) -> None:
        self.study_name, self.study_dir = study_name, study_dir
        self.parent = RunBuffer(study_name)
        self.runs: dict[str, RunBuffer] = {PARENT: self.parent}
        self.touched: dict[str, RunBuffer] = {}
        """Those that may hold what the store lacks."""
        self.known = False
        self.measure: Callable[[], Front] | None = None
        """Tells the front, where it may be newer than what the runs say of it."""
        self.summary: dict[str, Any] = {}
        self.lacks_models = False
        """Whether the front's members have yet to become logged models."""
        self._values: dict[str, dict[str, float]] = {}
        self._steps = 0

    def start(self, config: Mapping[str, Any], space_yaml: str) -> None:
        """The parent run, running."""
        self.known = True
        self.parent.set_params(flat(config))
        self.parent.set_tags({"nasdet.study": self.study_name, "nasdet.folder": str(self.study_dir)})
        self.parent.files["space.yaml"] = space_yaml

    def trial(self, record: TrialRecord) -> None:
        """The nested run of a trial as its record says."""
        if record.state not in STATUS:
            return
        spent = record.train_seconds + record.overhead_seconds
        run = self._run(record.trial, seconds_ago=spent if record.state != "running" else 0.0)
        run.set_params(record.params)
        reason = {"nasdet.reason": record.reason} if record.reason else {}
        run.set_tags({"nasdet.state": record.state, "nasdet.epochs": str(record.epochs), **reason})
        for rung in record.rungs:
            run.add_metrics(rung.values, rung.epochs)
        run.add_metrics(record.values, record.epochs)
        self._add_spec(run, record)
        run.status = STATUS[record.state]
        if record.state == "complete":
            self._values[record.trial] = record.values

    def epoch(self, trial: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """The metrics of one epoch of a trial."""
        self._run(trial).add_metrics(metrics, epoch)

    def front(self, front: Front) -> bool:
        """The front, and every trial's place in it, as of now.

        Returns:
            Whether the files that show it are out of date.
        """
        for step in front.history[self._steps :]:
            self.parent.add_metrics({"hypervolume": step.hypervolume, "front_size": step.front_size}, step.step)
        self._steps = len(front.history)
        self.parent.set_tags({"mlflow.note.content": study_note(front.summary, self.study_dir, MAX_TAG)})
        changed, self.summary = front.summary != self.summary, front.summary
        self._rank()
        return changed

    def _rank(self) -> None:
        objectives = self.summary["objectives"]
        trials = list(self._values)
        table = [[self._values[t].get(o["name"], np.nan) for o in objectives] for t in trials]
        ranks = non_dominated_rank(table, [o["direction"] for o in objectives])
        front = {member["trial"] for member in self.summary["front"]}
        for trial, rank in zip(trials, ranks.tolist(), strict=True):
            run = self._run(trial)
            run.set_tags({"nasdet.pareto": str(trial in front).lower(), "nasdet.rank": str(rank)})
            if self.parent.status != "RUNNING":
                # MLflow sorts tags as text. A rank changes with every trial: only the last one is worth a history.
                run.add_metrics({"rank": rank}, 0)

    def end(self, status: str) -> None:
        """The parent run, ended, and nothing left that looks as if it ran."""
        for trial, run in self.runs.items():
            if run.status == "RUNNING" and trial != PARENT:
                self._run(trial).status = "KILLED"
        self.parent.status = status
        self.lacks_models = bool(self.summary or self.measure)

    def members(self) -> dict[str, str]:
        """Trial -> run id of the front's members that have a run."""
        runs = {m["trial"]: self.runs.get(m["trial"]) for m in self.summary.get("front", ())}
        return {trial: run.run_id for trial, run in runs.items() if run is not None and run.run_id}

    def _run(self, trial: str, seconds_ago: float = 0.0) -> RunBuffer:
        if trial not in self.runs:
            started = int((time.time() - seconds_ago) * 1000)
            self.runs[trial] = RunBuffer(trial, started)
        self.touched[trial] = self.runs[trial]
        return self.runs[trial]

    def _add_spec(self, run: RunBuffer, record: TrialRecord) -> None:
        """spec.json and recipe.json, once."""
        if record.spec is None or record.recipe is None or FILES_TAG in run.tags:
            return
        run.set_tags({FILES_TAG: "spec.json recipe.json"})
        run.files["spec.json"] = json.dumps(record.spec, indent=1)
        run.files["recipe.json"] = json.dumps(record.recipe, indent=1)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        out.update(flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return out
