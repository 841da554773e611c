"""What all tests share. One decision: every test session has its own NASDET_HOME."""

from __future__ import annotations

import functools
import gc
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_HOME = tempfile.TemporaryDirectory(prefix="nasdet-tests-", ignore_cleanup_errors=True)
os.environ["NASDET_HOME"] = _HOME.name
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.pop("MLFLOW_TRACKING_URI", None)  # searches would be tracked there
REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on Ray, which take longest, come first, and are told by the text of their file."""
    for item in items:
        if "ray_is_up" in getattr(item, "fixturenames", ()) and not _uses_ray(item.nodeid.split("::")[0]):
            raise pytest.UsageError(f"{item.nodeid} runs on Ray: mark it, or its file, with pytest.mark.ray")
    items.sort(key=lambda item: not _uses_ray(item.nodeid.split("::")[0]))


def pytest_collection_finish() -> None:
    """Modules and tests stay until the end: looked through by the garbage collector, they took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 100)  # the last, for all objects, is 10 otherwise


def pytest_unconfigure() -> None:
    """What is frozen at the end is reported as leaked by some libraries."""
    gc.unfreeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Under pytest-xdist a process takes whole files, and one process all files with tests on Ray.

    xdist's own groups (`--dist loadgroup`) have no effect with pytest 9.2.
    """
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return "ray" if _uses_ray(file) else file

    return ByFile(config, log)


@functools.cache
def _uses_ray(file: str) -> bool:
    """Whether tests of this file, named from the repository's root, run on Ray."""
    return "mark.ray" in (REPOSITORY / file).read_text()


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data sets: `NASDET_TEST_DATA`, or `../shared/data` beside the checkout."""
    path = Path(os.environ.get("NASDET_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (path / "bccd").is_dir():
        pytest.skip(f"no real data at {path}; set NASDET_TEST_DATA to a folder that holds bccd and coco60")
    return path


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's tables, which take MLflow seconds to make, and nothing in them; to be copied."""
    from mlflow.tracking import MlflowClient

    from nasdet.tracking import quiet_mlflow

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with quiet_mlflow():
        MlflowClient(f"sqlite:///{path}").get_experiment_by_name("none")
    return path


@pytest.fixture(scope="session")
def ray_is_up() -> Iterator[None]:
    """A Ray of the caller's own, which searches use and leave up; for all tests of the session."""
    from nasdet.driver.ray_cluster import ray_cluster

    with ray_cluster():
        yield


SETTINGS = (
    "NASDET",
    "TUNE_",
    "MLFLOW_",
    "OMP_",
    "MASTER_",
    "DO_NOT_TRACK",
    "PYTHONPATH",
    "GLOO_",
    "RAY_TRAIN",
    "RAY_worker",
)
"""Beginnings of environment variables that nasdet or its tests set."""
LOGGERS = (None, "sqlalchemy", "urllib3", "urllib3.connectionpool", "nasdet")
MLFLOW_LOGGERS = ("mlflow", "alembic")
"""Which MLflow gives a handler when it is imported for the first time, as it may be within a test."""


def _process_settings() -> dict[str, Any]:
    """What is set for a whole process and must not be left changed."""
    torch = sys.modules.get("torch")
    return {
        "environment": {name: value for name, value in os.environ.items() if name.startswith(SETTINGS)},
        "sys.path": [folder for folder in sys.path if "site-packages" not in folder],  # Ray adds its own when imported
        "standard output and error": [(os.fstat(number).st_dev, os.fstat(number).st_ino) for number in (1, 2)],
        "loggers": {name: _handlers(name) for name in LOGGERS},
        "MLflow's loggers": {name: _handlers(name) for name in MLFLOW_LOGGERS} if "mlflow" in sys.modules else None,
        "torch": torch
        and {
            "threads": torch.get_num_threads(),
            "convolutions in TF32": torch.backends.cudnn.allow_tf32,
            "matrix products in TF32": torch.backends.cuda.matmul.allow_tf32,
        },
    }


def _handlers(name: str | None) -> tuple[list[logging.Handler], bool]:
    logger = logging.getLogger(name)
    return [handler for handler in logger.handlers if not _is_harmless(handler)], logger.propagate


def _is_harmless(handler: logging.Handler) -> bool:
    """Pytest's own, and the one that a library gives its logger when it is imported."""
    return isinstance(handler, logging.NullHandler) or type(handler).__module__.startswith("_pytest")


@pytest.fixture(autouse=True)
def _process_is_left_as_found() -> Iterator[None]:
    """A library leaves the process as it found it, and so does a test: threads that one test leaves set make the others
    slow, or fail."""
    before = _process_settings()
    yield
    after = _process_settings()
    changed = {name: (before[name], now) for name, now in after.items() if before[name] not in (None, now)}
    if "torch" in changed and before["torch"]:
        sys.modules["torch"].set_num_threads(before["torch"]["threads"])  # only this test fails
    assert not changed, f"left changed (before, after): {changed}"


@pytest.fixture(autouse=True)
def _in_tmp_path(_process_is_left_as_found: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in its own empty folder."""
    monkeypatch.chdir(tmp_path)
