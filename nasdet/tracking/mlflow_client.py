"""Opening an MLflow store, without telemetry and without output on the terminal; and writes that concern no study."""

from __future__ import annotations

import contextlib
import getpass
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasdet.environment import environment
from nasdet.errors import NasdetError
from nasdet.tracking.sqlite_store import SPACE_TAG, artifact_root, relocate
from nasdet.uris import public_uri, sqlite_path

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
DEFAULTS = {
    # A dead server must show within seconds; the tracker repeats what failed.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""Environment variables that the user may have set otherwise."""
LOGGERS = ("mlflow", "alembic", "sqlalchemy", "urllib3.connectionpool")
EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Tells MLflow's interface that the experiment holds model training, so that it opens on the table of runs."""

_lock, _users, _restore = threading.Lock(), 0, contextlib.ExitStack()


@contextlib.contextmanager
def quiet_mlflow(log: Path | None = None) -> Iterator[None]:
    """Within this context telemetry is off, and MLflow and its database layer write to `log` or nowhere.

    Environment variables and loggers are as before when the context is left; where several threads are in it, when the
    last of them leaves. The first context also imports MLflow, which reads some variables only then.
    """
    global _users, _restore
    handler: logging.Handler = logging.NullHandler()
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(log, delay=True, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    with _lock:
        if _users == 0:
            with contextlib.ExitStack() as undo:
                _change_process(undo)
                _restore = undo.pop_all()
        _users += 1
        for name in LOGGERS:
            logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        with _lock:
            for name in LOGGERS:
                logging.getLogger(name).removeHandler(handler)
            handler.close()
            _users -= 1
            if _users == 0:
                _restore.close()


def _change_process(undo: contextlib.ExitStack) -> None:
    """Set the environment variables and the loggers; closing `undo` sets them back."""
    undo.enter_context(environment(NO_TELEMETRY, defaults=DEFAULTS))
    import mlflow  # noqa: F401  configures its own loggers, which are then what is restored

    for logger in map(logging.getLogger, LOGGERS):
        undo.callback(_set_logger, logger, logger.handlers, logger.propagate, logger.level)
        _set_logger(logger, [], False, logging.WARNING)


def _set_logger(logger: logging.Logger, handlers: list[logging.Handler], propagate: bool, level: int) -> None:
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


def open_client(uri: str) -> tuple[MlflowClient, Path | None]:
    """A client, and the database if the store is one SQLite file, whose stored locations are set right first."""
    database = sqlite_path(uri)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        relocate(database)
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri), database


def ensure_experiment(client: MlflowClient, name: str, database: Path | None) -> str:
    """The id of a space's experiment, which is made, restored or marked as nasdet's where necessary. The artifacts of
    an SQLite store lie beside its file."""
    known = client.get_experiment_by_name(name)
    if known is None:
        location = str(artifact_root(database)) if database else None
        return str(
            client.create_experiment(name, artifact_location=location, tags={SPACE_TAG: name, **EXPERIMENT_KIND})
        )
    if known.lifecycle_stage == "deleted":
        client.restore_experiment(known.experiment_id)
    if SPACE_TAG not in known.tags:
        client.set_experiment_tag(known.experiment_id, SPACE_TAG, name)
    return str(known.experiment_id)


def creator_tags() -> dict[str, str]:
    """Who makes a run, and by which program."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return {"mlflow.user": user, "mlflow.source.name": "nasdet"}


def record_bundle(uri: str, space_name: str, name: str, card: Mapping[str, Any]) -> str:
    """Make a finished run for a detector that belongs to no trial of a study.

    Args:
        uri: MLflow tracking URI.
        space_name: name of the experiment.
        name: of the run.
        card: the bundle's metrics.json: `values` become metrics, other texts and numbers become parameters.

    Returns:
        The run's id.

    Raises:
        NasdetError: MLflow refuses it, or does not answer.
    """
    with quiet_mlflow():
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException

        now = round(1000 * time.time())
        try:
            client, database = open_client(uri)
            run = client.create_run(ensure_experiment(client, space_name, database), tags=creator_tags(), run_name=name)
            metrics = [Metric(key, float(value), now, 0) for key, value in card.get("values", {}).items()]
            params = [Param(key, str(value)) for key, value in card.items() if isinstance(value, str | int | float)]
            client.log_batch(run.info.run_id, metrics=metrics, params=params)
            client.set_terminated(run.info.run_id)
        except MlflowException as error:
            line = public_uri(" ".join(str(error.message).split()))
            raise NasdetError(f"MLflow at {public_uri(uri)} took no run: {line}") from error
        return str(run.info.run_id)


def attach(uri: str, run_id: str, file: Path, log: Path) -> None:
    """Log a file as an artifact of an existing run; raises what MLflow raises. MLflow's own log goes to `log`."""
    with quiet_mlflow(log):
        open_client(uri)[0].log_artifact(run_id, str(file))
