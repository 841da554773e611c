"""MLflow without telemetry and without chatter. One decision: this runs before the first import of mlflow, always."""

from __future__ import annotations

import logging
import os
from pathlib import Path

OFF = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_CONFIGURE_LOGGING": "false"}
DEFAULTS = {
    # A dead server must show within seconds: retries are the tracker's own work.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
CHATTY = ("mlflow", "alembic", "sqlalchemy", "urllib3.connectionpool")


def quiet_mlflow(log: Path | None = None) -> None:
    """Turn telemetry off and send the log records of MLflow and its database layer to `log`, or drop all but errors."""
    os.environ.update(OFF)
    for key, value in DEFAULTS.items():
        os.environ.setdefault(key, value)
    handler: logging.Handler = logging.NullHandler()
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(log, delay=True, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in CHATTY:
        logger = logging.getLogger(name)
        for old in list(logger.handlers):
            logger.removeHandler(old)
            old.close()
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.WARNING)
