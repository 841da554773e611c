"""`Mirror`: what MLflow should say of a study. One decision: no input or output here; records and summaries go in,
run buffers come out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasdet.space.pareto import FrontStep, non_dominated_rank
from nasdet.space.trial import TrialRecord
from nasdet.tracking.buffer import FILES_TAG, RunBuffer
from nasdet.tracking.note import study_note
from nasdet.tracking.runs_file import PARENT

STATUS = {"running": "RUNNING", "paused": "SCHEDULED", "complete": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
UNRANKED = "none"


class Mirror:
    """The runs of a study as they should be; used by the tracker's thread only.

    Args:
        study_name: name of the parent run.
        study_dir: named in the parent run's description.
    """

    def __init__(self, study_name: str, study_dir: Path) -> None:
        self.study_name, self.study_dir = study_name, study_dir
        self.parent = RunBuffer(study_name, {})
        self.runs: dict[str, RunBuffer] = {PARENT: self.parent}
        self.known = False
        self.stale = False
        """Whether the front's files are older than the front."""
        self.summary: dict[str, Any] = {}
        self.draw: Callable[[Path], None] | None = None
        self._values: dict[str, dict[str, float]] = {}
        self._unranked = False

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
        if record.trial not in self._values:
            run.set_tags({"nasdet.pareto": "false", "nasdet.rank": UNRANKED})
        reason = {"nasdet.reason": record.reason} if record.reason else {}
        run.set_tags({"nasdet.state": record.state, "nasdet.epochs": str(record.epochs), **reason})
        for rung in record.rungs:
            run.add_metrics(rung.values, rung.epochs)
        run.add_metrics(record.values, record.epochs)
        self._add_spec(run, record)
        run.status = STATUS[record.state]
        if record.state == "complete" and self._values.get(record.trial) != record.values:
            self._values[record.trial] = record.values
            self._unranked = True

    def epoch(self, trial: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """The metrics of one epoch of a trial."""
        self._run(trial).add_metrics(metrics, epoch)

    def front(self, summary: dict[str, Any], history: Sequence[FrontStep], draw: Callable[[Path], None] | None) -> None:
        """The front as of now; the ranks follow in `rank`."""
        for step in history:
            self.parent.add_metrics({"hypervolume": step.hypervolume, "front_size": step.front_size}, step.step)
        self.parent.set_tags({"mlflow.note.content": study_note(summary, self.study_dir)})
        self.stale = self.stale or summary != self.summary
        self.summary, self.draw, self._unranked = summary, draw, True

    def rank(self) -> None:
        """Bring `nasdet.pareto` and `nasdet.rank` of all trials up to date."""
        if not self._unranked or not self.summary:
            return
        self._unranked = False
        objectives = self.summary["objectives"]
        trials = list(self._values)
        table = [[self._values[t].get(o["name"], np.nan) for o in objectives] for t in trials]
        ranks = non_dominated_rank(table, [o["direction"] for o in objectives])
        front = {member["trial"] for member in self.summary["front"]}
        for trial, rank in zip(trials, ranks.tolist(), strict=True):
            self.runs[trial].set_tags({"nasdet.pareto": str(trial in front).lower(), "nasdet.rank": str(rank)})

    def end(self, status: str) -> None:
        """The parent run, ended, and nothing left that looks as if it ran."""
        for run in self.runs.values():
            if run.status == "RUNNING":
                run.status = "KILLED"
        self.parent.status = status

    def _run(self, trial: str, seconds_ago: float = 0.0) -> RunBuffer:
        if trial not in self.runs:
            started = int((time.time() - seconds_ago) * 1000)
            self.runs[trial] = RunBuffer(trial, {}, started)
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
