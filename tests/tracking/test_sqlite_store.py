"""What `nasdet.tracking.sqlite_store` reads and writes of MLflow's private tables."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from nasdet.tracking.sqlite_store import holds, relocate

USED = {
    "experiment_tags": {"experiment_id", "key"},
    "experiments": {"experiment_id", "artifact_location"},
    "runs": {"run_uuid", "experiment_id", "artifact_uri"},
    "logged_models": {"experiment_id", "artifact_location"},
    "model_versions": {"run_id", "storage_location"},
    "tags": {"key", "value"},
}


@pytest.mark.parametrize("table", USED)
def test_mlflow_still_has_the_columns_that_are_read(table: str, mlflow_tables: Path) -> None:
    import mlflow

    with contextlib.closing(sqlite3.connect(mlflow_tables)) as store:
        columns = {row[1] for row in store.execute(f"PRAGMA table_info({table})")}
    assert USED[table] <= columns, (
        f"MLflow {mlflow.__version__} has another layout: table {table} lacks {sorted(USED[table] - columns)}. A moved "
        "study no longer finds its artifacts (relocate), or a lost store is not noticed (holds): adapt "
        "nasdet/tracking/sqlite_store.py"
    )


def test_no_file_or_a_damaged_one_holds_nothing(tmp_path: Path) -> None:
    assert not holds(tmp_path / "none.db", "key") and relocate(tmp_path / "none.db") == 0
    (tmp_path / "text.db").write_text("no database, although it is as long as the head of one would be")
    assert not holds(tmp_path / "text.db", "key")


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as store, store:
        store.execute("CREATE TABLE experiments (artifact_location TEXT)")
    assert relocate(tmp_path / "other.db") == 0 and not holds(tmp_path / "other.db", "key")
