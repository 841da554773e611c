"""`quiet_mlflow`: what it changes of the process, and that nothing stays changed."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from nasdet.tracking import quiet_mlflow
from nasdet.tracking.mlflow_client import DEFAULTS, LOGGERS, NO_TELEMETRY


def state() -> Any:
    loggers = [logging.getLogger(name) for name in LOGGERS]
    variables = {key: os.environ.get(key) for key in (*NO_TELEMETRY, *DEFAULTS)}
    return [(list(x.handlers), x.propagate, x.level) for x in loggers], variables


def test_loggers_and_environment_are_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with quiet_mlflow():
        pass  # the import of MLflow sets up its own loggers
    own = logging.StreamHandler()
    logging.getLogger("sqlalchemy").addHandler(own)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.setenv("DO_NOT_TRACK", "false")
    before = state()
    log = tmp_path / "logs" / "mlflow.log"
    with pytest.raises(RuntimeError), quiet_mlflow(log):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77" and os.environ["DO_NOT_TRACK"] == "true"
        assert own not in logging.getLogger("sqlalchemy").handlers
        logging.getLogger("mlflow.store").warning("said to the log")
        logging.getLogger("alembic").info("not said")
        raise RuntimeError
    assert state() == before
    assert "said to the log" in log.read_text() and "not said" not in log.read_text()
    logging.getLogger("sqlalchemy").removeHandler(own)


def test_the_last_of_several_restores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    before = state()
    first, second = quiet_mlflow(tmp_path / "1.log"), quiet_mlflow(tmp_path / "2.log")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert os.environ["DO_NOT_TRACK"] == "true" and not logging.getLogger("mlflow").propagate
    second.__exit__(None, None, None)
    assert state() == before and "DO_NOT_TRACK" not in os.environ
