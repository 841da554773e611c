"""The records of a study in an SQLite file, read without Optuna.

One decision: Optuna's own reading makes an object of every parameter of every trial, a second for 1,000 trials; what
nasdet needs is one attribute of each, so it is selected directly. Whatever is not as expected here is left to Optuna.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

from nasdet.trial import TrialRecord

_STUDY = "SELECT study_id FROM studies WHERE study_name = ?"
_RECORDS = """
SELECT trials.trial_id, value_json FROM trials JOIN trial_user_attributes USING (trial_id)
WHERE study_id = ? AND key = ? ORDER BY number
"""


def read_records(database: Path, study: str, attribute: str) -> tuple[int, dict[int, TrialRecord]] | None:
    """A study's id and its records by Optuna's trial id; None if the file holds no such study as Optuna writes it.

    Args:
        database: SQLite file.
        study: name of the study in it.
        attribute: the user attribute that holds a trial's record as JSON text.
    """
    with contextlib.suppress(sqlite3.Error, ValueError):
        # sqlite3's own context manager does not close.
        with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as file:
            found = file.execute(_STUDY, (study,)).fetchone()
            if found is None:
                return None
            rows = file.execute(_RECORDS, (found[0], attribute)).fetchall()
        return found[0], {number: TrialRecord.from_json(json.loads(json.loads(text))) for number, text in rows}
    return None
