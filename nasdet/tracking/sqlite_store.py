"""MLflow's private tables in an SQLite file, which nasdet reads and corrects before MLflow opens it.

Artifacts lie beside the SQLite file, but MLflow stores absolute locations. Where a stored location is elsewhere, the
study folder has moved, and the location is corrected.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

ARTIFACTS = "mlartifacts"
SPACE_TAG, KEY_TAG = "nasdet.space", "nasdet.key"
_OURS = f"SELECT experiment_id FROM experiment_tags WHERE key = '{SPACE_TAG}'"
_IN_OURS = f"experiment_id IN ({_OURS})"
_COLUMNS = (
    ("experiments", "artifact_location", _IN_OURS),
    ("runs", "artifact_uri", _IN_OURS),
    ("logged_models", "artifact_location", _IN_OURS),
    ("model_versions", "storage_location", f"run_id IN (SELECT run_uuid FROM runs WHERE {_IN_OURS})"),
)
"""Table, column, and condition of nasdet's rows, of each location that is stored."""


def artifact_root(database: Path) -> Path:
    """The folder that holds the artifacts of an SQLite store."""
    return database.resolve().parent / ARTIFACTS


def relocate(database: Path) -> int:
    """Point nasdet's experiments, runs and registered models in an SQLite store at the artifacts beside it.

    Experiments that nasdet did not make are left alone.

    Returns:
        How many locations were corrected.
    """
    if not database.is_file():
        return 0
    root = str(artifact_root(database))
    # sqlite3's own context manager commits but does not close.
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as store, store:
        if not store.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiment_tags'").fetchone():
            return 0
        return sum(_repair(store, *place, root) for place in _COLUMNS)


def holds(database: Path, key: str) -> bool:
    """Whether an SQLite store has runs of the study with this key (`tracking.jsonl`); one that is damaged has none."""
    if not database.is_file():
        return False
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as store, contextlib.suppress(sqlite3.DatabaseError):
        if store.execute("SELECT 1 FROM sqlite_master WHERE name = 'tags'").fetchone():
            sql = "SELECT 1 FROM tags WHERE key = ? AND value = ? LIMIT 1"
            return store.execute(sql, (KEY_TAG, key)).fetchone() is not None
    return False


def _repair(store: sqlite3.Connection, table: str, column: str, ours: str, root: str) -> int:
    if not store.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
        return 0  # an older MLflow
    marker = f"/{ARTIFACTS}/"
    rows = store.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {ours}").fetchall()
    changes = 0
    for (old,) in rows:
        before, found, rest = f"{old or ''}/".rpartition(marker)
        new = f"{root}/{rest}".rstrip("/")
        if found and "://" not in before.removeprefix("file://") and old != new:
            sql = f"UPDATE {table} SET {column} = ? WHERE {column} = ? AND {ours}"
            changes += store.execute(sql, (new, old)).rowcount
    return changes
