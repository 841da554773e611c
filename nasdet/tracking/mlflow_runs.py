"""`StudyRuns`: one study's runs in an MLflow store, brought up to date from its records.

`sync` compares what the records say with what the store holds and writes the difference. It may fail anywhere and be
called again, by another process too: what is written already is not written twice, and nothing is lost.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nasdet.pareto import FrontStep, non_dominated_rank
from nasdet.study_summary import Summary
from nasdet.tracking.logged_models import TRIAL_TAG, all_pages, sync_models
from nasdet.tracking.mlflow_client import creator_tags, ensure_experiment, open_client
from nasdet.tracking.note import study_note
from nasdet.tracking.runs_file import PARENT, add_run, run_ids, study_key
from nasdet.tracking.sqlite_store import KEY_TAG
from nasdet.trial import TrialRecord

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

MAX_KEY = 250
MAX_PARAM = 6000
MAX_TAG = 5000
FILES_TAG = "nasdet.files"
"""Set on a run whose files are complete and never change."""
UNRANKED = {"nasdet.pareto": "false", "nasdet.rank": "none"}
STATUS = {"running": "RUNNING", "paused": "SCHEDULED", "complete": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
"""MLflow's status of a run by the state of its trial; other trials have no run."""
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST")
"""MLflow's error codes for content that it will never take."""


@dataclasses.dataclass(frozen=True)
class StudyInfo:
    """What the parent run says of a study from the start.

    Attributes:
        name: of the study and of its parent run.
        folder: the study's folder; keeps `tracking.jsonl`.
        space_name: name of the search space and of the experiment.
        space_yaml: the search space, kept as artifact `space.yaml`.
        settings: become parameters; nested mappings become dotted keys.
    """

    name: str
    folder: Path
    space_name: str
    space_yaml: str
    settings: Mapping[str, Any]


class Front(NamedTuple):
    """The front as it is now."""

    summary: Summary
    history: Sequence[FrontStep]
    """The front after each finished trial."""
    draw: Callable[[Path], None]
    """Writes pareto.html and pareto.png into a folder."""


class Point(NamedTuple):
    """One value of one metric."""

    name: str
    step: int
    value: Any
    milliseconds: int
    """Since 1970."""


@dataclasses.dataclass
class Content:
    """What one run should hold; parameters and metrics of the store that are not named here stay."""

    status: str
    params: Mapping[str, Any]
    tags: dict[str, str]
    metrics: list[Point]
    files: dict[str, str | Path]
    """File name to a text, or to the file that is uploaded."""


class StoredRun:
    """One run as the store holds it."""

    def __init__(self, run: Run) -> None:
        self.run_id, self.status = str(run.info.run_id), str(run.info.status)
        self.params, self.tags = set(run.data.params), dict(run.data.tags)
        self.last = {m.key: (int(m.step), float(m.value)) for m in run.data.to_proto().metrics}
        """Step and value of the newest point of each metric."""

    def write(self, client: MlflowClient, content: Content) -> None:
        """Write what the store lacks: files before the tag that says they are there, the status last."""
        from mlflow.entities import Metric, Param, RunTag

        for name, file in content.files.items():
            if isinstance(file, Path):
                client.log_artifact(self.run_id, str(file))
            else:
                client.log_text(self.run_id, file, name)
        # A parameter cannot change: the first value of a key stays.
        params = {_key(k): str(v)[:MAX_PARAM] for k, v in content.params.items() if _key(k) not in self.params}
        tags = {_key(k): v[:MAX_TAG] for k, v in content.tags.items()}
        tags = {k: v for k, v in tags.items() if self.tags.get(k) != v}
        points = self._new(content.metrics)
        client.log_batch(
            self.run_id,
            metrics=[Metric(p.name, p.value, p.milliseconds, p.step) for p in points],
            params=[Param(k, v) for k, v in params.items()],
            tags=[RunTag(k, v) for k, v in tags.items()],
        )
        self.params |= set(params)
        self.tags |= tags
        self.last |= {p.name: (p.step, p.value) for p in points}
        if content.status != self.status:
            if content.status in ("RUNNING", "SCHEDULED"):
                client.update_run(self.run_id, status=content.status)
            else:
                client.set_terminated(self.run_id, content.status)
            self.status = content.status

    def _new(self, metrics: Iterable[Point]) -> list[Point]:
        """Finite points that come after the newest stored one of their metric, or change it, by step."""
        points = {}
        for p in metrics:
            if isinstance(p.value, bool) or not isinstance(p.value, int | float) or not math.isfinite(p.value):
                continue
            name, value = _key(p.name), float(p.value)
            step, before = self.last.get(name, (-1, math.nan))
            if p.step > step or (p.step == step and value != before):
                points[name, p.step] = Point(name, p.step, value, p.milliseconds)
        return sorted(points.values(), key=lambda p: p.step)


class StudyRuns:
    """The experiment of the space, the parent run of the study and a nested run for each trial that trained.

    Everything here waits for the store and raises what MLflow raises.

    Args:
        uri: MLflow tracking URI.
        study: the study.
        warn: called with one line when the front cannot be drawn.
    """

    def __init__(self, uri: str, study: StudyInfo, warn: Callable[[str], None]) -> None:
        self._client, database = open_client(uri)
        self._study, self._warn = study, warn
        self._key = study_key(study.folder)
        self._experiment_id = ensure_experiment(self._client, study.space_name, database)
        self._noted = run_ids(study.folder)
        self._runs: dict[str, StoredRun] = {}
        self._runs_known = False
        """Whether `_runs` is what the store holds: not at first, nor after a write of unknown outcome."""
        self._files: dict[str, str | Path] = {"space.yaml": study.space_yaml}
        """Files that the parent run lacks, besides those of the front."""
        self._epochs: dict[str, list[Point]] = defaultdict(list)
        """Metrics of epochs that are not written yet, by trial."""
        self._places: dict[str, tuple[str, str]] = {}
        """Whether a trial is on the front, and its rank."""
        self._written: dict[str, tuple[TrialRecord, tuple[str, str] | None, bool]] = {}
        """From what each trial's run was last written."""
        self._shown: Summary | None = None
        """The summary that the parent's files show."""
        self.refused: dict[str, str] = {}
        """Run name to why MLflow does not take what it should hold; nothing more is sent there."""

    def sync(
        self,
        records: Sequence[TrialRecord],
        epochs: deque[tuple[str, Point]],
        front: Front | None = None,
        outcome: str = "",
    ) -> None:
        """Write what MLflow lacks of the study.

        Args:
            records: all that the study has.
            epochs: metrics of single epochs as (trial, point); they are taken from the left.
            front: the front, its ranks and pictures are brought up to date from this; None: they stay.
            outcome: MLflow's status for a study that has ended; "": it goes on.
        """
        while epochs:
            trial, point = epochs.popleft()
            self._epochs[trial].append(point)
        if not self._runs_known:
            self._read_runs()
        self._runs_known = False  # should anything below fail, for example because a reply got lost
        parent = self._run(PARENT, self._study.name, {})
        if front is not None:
            self._places = _places(records, front.summary)
        for record in records:
            if record.state in STATUS and not self.holds(record, ended=bool(outcome)):
                self._write_trial(record, parent.run_id, ended=bool(outcome))
        if outcome and front is not None:
            self._write_models(front)
        if front is not None or outcome or self._files:
            self._write_parent(parent, front, outcome or "RUNNING")
        self._runs_known = True

    def holds(self, record: TrialRecord, *, ended: bool) -> bool:
        """Whether a trial's run was written from this record, and no metrics of its epochs wait."""
        wanted = (record, self._places.get(record.trial), ended)
        return self._written.get(record.trial) == wanted and record.trial not in self._epochs

    def _read_runs(self) -> None:
        own = f"tags.`{KEY_TAG}` = '{self._key}'"
        found = all_pages(
            lambda token: self._client.search_runs([self._experiment_id], own, max_results=1000, page_token=token)
        )
        self._runs = {run.data.tags.get(TRIAL_TAG, PARENT): StoredRun(run) for run in found}

    def _write_trial(self, record: TrialRecord, parent_id: str, *, ended: bool) -> None:
        trial, place = record.trial, self._places.get(record.trial)
        content = _content(record, self._epochs[trial], place, ended)
        spent = record.train_seconds + record.overhead_seconds if record.state != "running" else 0.0
        tags = {TRIAL_TAG: trial, "mlflow.parentRunId": parent_id, **UNRANKED, **content.tags}
        self._write(self._run(trial, trial, tags, spent), trial, content)
        self._written[trial] = (record, place, ended)
        del self._epochs[trial]

    def _run(self, trial: str, name: str, tags: dict[str, str], seconds_ago: float = 0.0) -> StoredRun:
        """The run of a trial, or of the study (`PARENT`), made where the store has none."""
        if trial not in self._runs:
            tags = {KEY_TAG: self._key, "nasdet.study": self._study.name, **creator_tags(), **tags}
            # The files are not there yet, so neither is the tag that says they are.
            tags = {k: v[:MAX_TAG] for k, v in tags.items() if k != FILES_TAG}
            started = _now() - int(1000 * seconds_ago)
            made = self._client.create_run(self._experiment_id, start_time=started, tags=tags, run_name=name)
            self._runs[trial] = StoredRun(made)
        run = self._runs[trial]
        if self._noted.get(trial) != run.run_id:
            self._noted[trial] = run.run_id
            add_run(self._study.folder, trial, run.run_id)
        return run

    def _write(self, run: StoredRun, name: str, content: Content) -> None:
        """Write one run; content that MLflow refuses is noted, any other failure is raised."""
        from mlflow.exceptions import MlflowException

        if name in self.refused:
            return
        if FILES_TAG in run.tags:
            content.files.clear()
        try:
            run.write(self._client, content)
        except MlflowException as error:
            if error.error_code not in REFUSALS:
                raise
            self.refused[name] = str(error.message)

    def _write_parent(self, parent: StoredRun, front: Front | None, status: str) -> None:
        """The settings and the front, with its pictures where it has changed."""
        tags = {"nasdet.study": self._study.name, "nasdet.folder": str(self._study.folder)}
        content = Content(status, _flat(self._study.settings), tags, [], dict(self._files))
        # In the study's folder and not among temporary files, where a killed process would leave it for good.
        folder = self._study.folder / "logs" / "front"
        folder.mkdir(parents=True, exist_ok=True)
        if front is not None:
            tags["mlflow.note.content"] = study_note(front.summary, self._study.folder, MAX_TAG)
            for step in front.history:
                values = {"hypervolume": step.hypervolume, "front_size": step.front_size}
                content.metrics += [Point(name, step.step, value, _now()) for name, value in values.items()]
            if front.summary != self._shown:
                content.files |= self._front_files(front, folder)
        self._write(parent, self._study.name, content)
        shutil.rmtree(folder, ignore_errors=True)
        self._files = {}
        if front is not None:
            self._shown = front.summary

    def _front_files(self, front: Front, folder: Path) -> dict[str, str | Path]:
        try:
            front.draw(folder)
        except Exception as error:  # a picture is worth no more than a line
            self._warn(f"the front could not be drawn ({type(error).__name__}: {error})")
        pictures = {path.name: path for path in folder.iterdir()}
        return {"front.json": json.dumps(front.summary.to_json(), indent=1), **pictures}

    def _write_models(self, front: Front) -> None:
        """The front's members as logged models; a server may know none."""
        from mlflow.exceptions import MlflowException

        trials = [member.trial for member in front.summary.front]
        members = {trial: self._runs[trial].run_id for trial in trials if trial in self._runs}
        try:
            sync_models(self._client, self._experiment_id, self._key, self._study.folder, members)
        except MlflowException as error:
            if error.error_code not in (*REFUSALS, "ENDPOINT_NOT_FOUND"):
                raise
            self.refused["the front's models"] = str(error.message)


def _content(record: TrialRecord, epochs: list[Point], place: tuple[str, str] | None, ended: bool) -> Content:
    """What the run of a trial should hold."""
    status = "KILLED" if ended and record.state == "running" else STATUS[record.state]
    tags = {"nasdet.state": record.state, "nasdet.epochs": str(record.epochs)}
    if record.reason:
        tags["nasdet.reason"] = record.reason
    measured = [*((rung.epochs, rung.values) for rung in record.rungs), (record.epochs, record.values)]
    metrics = [*epochs, *(Point(name, step, v, _now()) for step, values in measured for name, v in values.items())]
    if place is not None:
        tags |= {"nasdet.pareto": place[0], "nasdet.rank": place[1]}
        if ended:
            # MLflow sorts tags as text, so the rank is a metric too: the last one only, since each trial changes it.
            metrics.append(Point("rank", 0, int(place[1]), _now()))
    content = Content(status, record.params, tags, metrics, {})
    if record.spec is not None and record.recipe is not None:
        tags[FILES_TAG] = "spec.json recipe.json"
        content.files["spec.json"] = json.dumps(record.spec, indent=1)
        content.files["recipe.json"] = json.dumps(record.recipe, indent=1)
    return content


def _places(records: Sequence[TrialRecord], summary: Summary) -> dict[str, tuple[str, str]]:
    """For each complete trial whether it is on the front ("true" or "false"), and its non-dominated rank."""
    complete = [record for record in records if record.state == "complete"]
    objectives = summary.objectives
    table = [[record.values.get(o.name, np.nan) for o in objectives] for record in complete]
    ranks = non_dominated_rank(table, [o.direction for o in objectives])
    members = {member.trial for member in summary.front}
    return {
        record.trial: (str(record.trial in members).lower(), str(rank))
        for record, rank in zip(complete, ranks.tolist(), strict=True)
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        out.update(_flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return out


def _key(name: str) -> str:
    """A key that MLflow accepts: letters, digits and _ - . / : and space."""
    return re.sub(r"[^\w\-./: ]", "_", name)[:MAX_KEY]


def _now() -> int:
    return int(time.time() * 1000)
