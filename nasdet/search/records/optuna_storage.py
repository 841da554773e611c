"""The trials of a study in an Optuna storage.

One decision: a trial's whole record is one user attribute of its Optuna trial, so that a study is resumed from, and
opens in Optuna's own tools from, the same place. Reading and ending trials goes past Optuna's interface to its tables,
which have been the same since Optuna 3:

- Optuna reads by making an object of every parameter of every trial, a second for 1,000 trials. One attribute of each
  trial is needed here, so it is selected directly where the storage is an SQLite file.
- Optuna writes an attribute and the state of a trial in two transactions. A crash between them would leave the trial
  running in Optuna for good, since a finished record never changes again. Here it is one transaction.

Everything that depends on the tables is in this file; its tests compare it with what Optuna itself reads.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from nasdet.errors import InputError
from nasdet.search.samplers.distributions import direction, distribution, encode
from nasdet.space import SearchSpace
from nasdet.trial import TrialRecord
from nasdet.uris import public_uri, sqlite_path

if TYPE_CHECKING:
    from sqlalchemy import Table

RECORD = "nasdet:record"
"""The user attribute that holds a trial's record as JSON text."""
STATES = {
    "complete": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "infeasible": TrialState.FAIL,
    "duplicate": TrialState.FAIL,
}
"""Optuna's states of records that have ended; all others are running."""
_STUDY = "SELECT study_id FROM studies WHERE study_name = ?"
_RECORDS = """
SELECT trials.trial_id, number, value_json FROM trials JOIN trial_user_attributes USING (trial_id)
WHERE study_id = ? AND key = ? ORDER BY number
"""


class _Tables(NamedTuple):
    trials: Table
    values: Table
    attributes: Table


class OptunaStorage:
    """One study in an Optuna storage.

    Args:
        url: of the storage, as SQLAlchemy takes it.
        study: name of the study in it.
        space: what is searched.

    Raises:
        InputError: there is no such study, or a record is damaged.
    """

    def __init__(self, url: str, study: str, space: SearchSpace) -> None:
        self.url, self.study, self._space = url, study, space
        path = sqlite_path(url)
        found = self._select(path) if path else None
        self._study_id, rows = found or self._load()
        records = {trial_id: self._decode(number, text) for trial_id, number, text in rows}
        self.records = list(records.values())
        """As they were when the storage was opened."""
        self._trial_ids = {record.trial: trial_id for trial_id, record in records.items()}
        self._ended = {record.trial for record in self.records if record.state in STATES}
        """Trials whose state in Optuna is final, unless they are taken up again."""

    @classmethod
    def create(cls, url: str, study: str, space: SearchSpace) -> OptunaStorage:
        """Add a study without trials.

        Raises:
            InputError: the storage cannot be used, or holds a study of this name.
        """
        storage = _open(url)
        with quiet_optuna():
            try:
                storage.create_new_study([direction(o) for o in space.objectives], study)
                with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
                    names = optuna.load_study(study_name=study, storage=storage)
                    names.set_metric_names([o.name for o in space.objectives])
            except DuplicatedStudyError:
                what = f"the storage already holds a study {study!r}"
                raise InputError(what, where=public_uri(url), remedy="name another folder with --study") from None
        made = cls(url, study, space)
        made._storage = storage  # opening it takes a while
        return made

    def put(self, record: TrialRecord) -> None:
        """Add a trial, or replace its record and end it if the record has ended; one transaction."""
        known = self._trial_ids.get(record.trial)
        if known is None:
            self._trial_ids[record.trial] = self._storage.create_new_trial(self._study_id, self._frozen(record))
            if record.state in STATES:
                self._ended.add(record.trial)
        else:
            self._update(known, record)

    def delete(self) -> None:
        """Delete the study from the storage."""
        self._storage.delete_study(self._study_id)

    @functools.cached_property
    def _storage(self) -> RDBStorage:
        return _open(self.url)

    @functools.cached_property
    def _tables(self) -> _Tables:
        # Read from the database, so that each column takes values in the database's own type, as enumerations do.
        from sqlalchemy import MetaData

        names = ("trials", "trial_values", "trial_user_attributes")
        known = MetaData()
        known.reflect(self._storage.engine, only=names)
        return _Tables(*(known.tables[name] for name in names))

    def _update(self, trial_id: int, record: TrialRecord) -> None:
        trials, values, attributes = self._tables
        own = (attributes.c.trial_id == trial_id) & (attributes.c.key == RECORD)
        state = STATES.get(record.state)
        with self._storage.engine.begin() as transaction:
            # Optuna writes attributes as JSON; this one is a text, which is JSON itself.
            text = json.dumps(json.dumps(record.to_json()))
            transaction.execute(attributes.update().where(own).values(value_json=text))
            if state is None:
                if record.trial in self._ended:
                    again = {"state": TrialState.RUNNING.name, "datetime_complete": None}
                    transaction.execute(trials.update().where(trials.c.trial_id == trial_id).values(again))
                self._ended.discard(record.trial)
                return
            self._ended.add(record.trial)
            for objective, value in enumerate(self._values(record) or ()):
                row = {"trial_id": trial_id, "objective": objective, "value": value, "value_type": "FINITE"}
                transaction.execute(values.insert().values(row))
            now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)  # Optuna stores UTC without a time zone
            ended = {"state": state.name, "datetime_complete": now}
            transaction.execute(trials.update().where(trials.c.trial_id == trial_id).values(ended))

    def _frozen(self, record: TrialRecord) -> FrozenTrial:
        now, state = datetime.datetime.now(), STATES.get(record.state, TrialState.RUNNING)
        parameters = self._space.parameters
        distributions: dict[str, BaseDistribution] = {name: distribution(parameters[name]) for name in record.params}
        return FrozenTrial(
            number=-1,
            trial_id=-1,
            state=state,
            value=None,
            values=self._values(record),
            datetime_start=now,
            datetime_complete=now if state.is_finished() else None,
            params={n: encode(parameters[n], v) for n, v in record.params.items()},
            distributions=distributions,
            user_attrs={RECORD: json.dumps(record.to_json())},
            system_attrs={},
            intermediate_values={},
        )

    def _values(self, record: TrialRecord) -> list[float] | None:
        if record.state != "complete":
            return None
        return [record.values[o.name] for o in self._space.objectives]

    def _select(self, path: Path) -> tuple[int, list[tuple[int, int, str]]] | None:
        """The study's id, and id, number and record of each trial; None if the file holds no such study as Optuna
        writes it."""
        with contextlib.suppress(sqlite3.Error, ValueError):
            # sqlite3's own context manager does not close.
            with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as file:
                found = file.execute(_STUDY, (self.study,)).fetchone()
                if found is None:
                    return None
                rows = file.execute(_RECORDS, (found[0], RECORD)).fetchall()
            return found[0], [(trial_id, number, json.loads(text)) for trial_id, number, text in rows]
        return None

    def _load(self) -> tuple[int, list[tuple[int, int, str]]]:
        """The same as Optuna reads it."""
        try:
            study_id = self._storage.get_study_id_from_name(self.study)
        except KeyError:
            what, remedy = f"the storage holds no study {self.study!r}", "correct `storage` in its study.json"
            raise InputError(what, where=public_uri(self.url), remedy=remedy) from None
        trials = self._storage.get_all_trials(study_id, deepcopy=False)
        return study_id, [(t._trial_id, t.number, t.user_attrs[RECORD]) for t in trials if RECORD in t.user_attrs]

    def _decode(self, number: int, text: str) -> TrialRecord:
        try:
            return TrialRecord.from_json(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            what = f"the record of trial {number} of study {self.study!r} is damaged ({type(error).__name__}: {error})"
            remedy = "restore the storage from a copy"
            raise InputError(what, where=public_uri(self.url), remedy=remedy) from error


def _open(url: str) -> RDBStorage:
    with quiet_optuna():
        try:
            return RDBStorage(url)
        except Exception as error:
            reason = public_uri(str(error).split("\n", 1)[0])
            raise InputError(
                f"cannot open the Optuna storage: {reason}",
                where=public_uri(url),
                remedy="see --storage in nasdet search --help",
            ) from error


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Let Optuna log errors only."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
