"""`RunStore`: the runs of one study in one MLflow store. One decision: `MlflowClient` only, one thread only, no fluent
state; whatever it raises is for the tracker to repeat."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasdet.errors import NasdetError
from nasdet.tracking.buffer import RunBuffer
from nasdet.tracking.models import TRIAL_TAG, Models, every
from nasdet.tracking.quiet import quiet_mlflow
from nasdet.tracking.runs_file import PARENT, add_run, run_ids, study_key
from nasdet.tracking.sqlite_store import KEY_TAG, SPACE_TAG, artifact_root, relocate
from nasdet.uris import public_uri, sqlite_path

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

UNRANKED = {"nasdet.pareto": "false", "nasdet.rank": "none"}
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST")

KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Tells MLflow's interface that the experiment holds model training, so that it opens on the table of runs."""


class RunStore:
    """Opens the store, the experiment of the space and the study's runs; blocking, made on the tracker's thread.

    Args:
        uri: MLflow tracking URI.
        space_name: name of the experiment.
        study_name: name of the parent run.
        study_dir: the study's folder; keeps `tracking.jsonl`.
    """

    def __init__(self, uri: str, space_name: str, study_name: str, study_dir: Path) -> None:
        self.client, database = _client(uri, study_dir)
        self.study_dir, self.study_name = study_dir, study_name
        self.key = study_key(study_dir)
        self.experiment_id = ensure_experiment(self.client, space_name, database)
        self._noted = run_ids(study_dir)
        self._found = {run.data.tags.get(TRIAL_TAG, PARENT): run for run in self._runs()}

    def _runs(self) -> Iterator[Run]:
        """All runs of this study, the parent included."""
        only, where = f"tags.`{KEY_TAG}` = '{self.key}'", [self.experiment_id]
        return every(lambda token: self.client.search_runs(where, only, max_results=1000, page_token=token))

    def identity(self, trial: str) -> dict[str, str]:
        """The tags by which a run of this study is found again."""
        own = {KEY_TAG: self.key, "nasdet.study": self.study_name}
        return own | ({TRIAL_TAG: trial} if trial != PARENT else {})

    def ensure(self, trial: str, run: RunBuffer, parent_id: str) -> None:
        """Find or make the run of a trial (`PARENT`: of the study)."""
        if run.run_id:
            return
        if (found := self._found.pop(trial, None)) is not None:
            run.adopt(found)
        else:
            tags = self.identity(trial) | {"mlflow.user": _user(), "mlflow.source.name": "nasdet"}
            tags |= {"mlflow.parentRunId": parent_id} if parent_id else {}
            tags |= (UNRANKED if parent_id else {}) | run.first_tags()
            made = self.client.create_run(self.experiment_id, start_time=run.started, tags=tags, run_name=run.name)
            run.adopt(made)
        if self._noted.get(trial) != run.run_id:
            self._noted[trial] = run.run_id
            add_run(self.study_dir, trial, run.run_id)

    def write_models(self, members: Mapping[str, str], refused: Callable[[str], None]) -> None:
        """Let these trials (-> run id) and no others be logged models; as `write`, also where a server knows none."""
        from mlflow.exceptions import MlflowException

        try:
            Models(self.client, self.experiment_id, self.key, self.study_dir).write(members)
        except MlflowException as error:
            if error.error_code not in (*REFUSALS, "ENDPOINT_NOT_FOUND"):
                raise
            refused(f"the front's models: {error.message}")

    def write(self, run: RunBuffer, refused: Callable[[str], None]) -> None:
        """Write one run; a refusal of its content is passed to `refused`, any other failure is raised."""
        from mlflow.exceptions import MlflowException

        try:
            run.write(self.client)
        except MlflowException as error:
            if error.error_code not in REFUSALS:
                raise
            run.give_up()
            refused(f"{run.name}: {error.message}")


def ensure_experiment(client: MlflowClient, name: str, database: Path | None) -> str:
    """The id of a space's experiment, made, restored or marked as ours; beside an SQLite store stand its artifacts."""
    known = client.get_experiment_by_name(name)
    if known is None:
        location = str(artifact_root(database)) if database else None
        return str(client.create_experiment(name, artifact_location=location, tags={SPACE_TAG: name, **KIND}))
    if known.lifecycle_stage == "deleted":
        client.restore_experiment(known.experiment_id)
    if SPACE_TAG not in known.tags:
        client.set_experiment_tag(known.experiment_id, SPACE_TAG, name)
    return str(known.experiment_id)


def record_bundle(uri: str, space_name: str, name: str, card: Mapping[str, Any]) -> str:
    """A finished run for a detector that no study's run stands for.

    Args:
        uri: MLflow tracking URI.
        space_name: name of the experiment.
        name: of the run.
        card: the bundle's: `values` become metrics, what else is a text or a number becomes parameters.

    Returns:
        The run's id.

    Raises:
        NasdetError: MLflow refuses it, or does not answer.
    """
    client, database = _client(uri, None)
    from mlflow.entities import Metric, Param
    from mlflow.exceptions import MlflowException

    now = round(1000 * time.time())
    try:
        tags = {"mlflow.user": _user(), "mlflow.source.name": "nasdet"}
        run = client.create_run(ensure_experiment(client, space_name, database), tags=tags, run_name=name)
        metrics = [Metric(key, float(value), now, 0) for key, value in card.get("values", {}).items()]
        params = [Param(key, str(value)) for key, value in card.items() if isinstance(value, str | int | float)]
        client.log_batch(run.info.run_id, metrics=metrics, params=params)
        client.set_terminated(run.info.run_id)
    except MlflowException as error:
        line = public_uri(" ".join(str(error.message).split()))
        raise NasdetError(f"MLflow at {public_uri(uri)} took no run: {line}") from error
    return str(run.info.run_id)


def attach(uri: str, run_id: str, file: Path, study_dir: Path) -> None:
    """Log a file as an artifact of a run, whatever wrote the run; raises what MLflow raises."""
    _client(uri, study_dir)[0].log_artifact(run_id, str(file))


def _client(uri: str, study_dir: Path | None) -> tuple[MlflowClient, Path | None]:
    """A quiet client, and the database if the store is one file, whose locations are set right first."""
    quiet_mlflow(None if study_dir is None else study_dir / "logs" / "mlflow.log")
    database = sqlite_path(uri)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        relocate(database)
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri), database


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
