"""What all tests share. One decision: every test session has its own NASDET_HOME."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_HOME = tempfile.TemporaryDirectory(prefix="nasdet-tests-", ignore_cleanup_errors=True)
os.environ["NASDET_HOME"] = _HOME.name
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under pytest-xdist a process takes whole files, one process all tests on Ray, which start first."""
    for item in items:
        on_ray = item.get_closest_marker("ray") is not None
        item.add_marker(pytest.mark.xdist_group("ray" if on_ray else item.nodeid.split("::")[0]))
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


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


@pytest.fixture
def ray_instance() -> Iterator[None]:
    """Ray, for a test that uses it below the commands; these start and end their own."""
    from nasdet.driver.ray_cluster import ray_cluster

    with ray_cluster():
        yield


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in its own empty folder."""
    monkeypatch.chdir(tmp_path)
