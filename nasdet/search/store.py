"""A study on disk. One decision: the Optuna storage holds every trial, and the trial's whole record is one user
attribute of it, so that a study is resumed from, and opens in Optuna's own tools from, the same place."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nasdet.errors import InputError
from nasdet.search.distributions import distribution, encode
from nasdet.space import Objective, SearchSpace, load_space
from nasdet.space.trial import TrialRecord

RECORD = "nasdet:record"
CONFIG = "study.json"
SPACE = "space.yaml"
DATABASE = "optuna.db"
_STATES = {
    "complete": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "infeasible": TrialState.FAIL,
    "duplicate": TrialState.FAIL,
}


class StudyStore:
    """All that is kept of one study: `study.json`, `space.yaml`, the Optuna storage, `trials/<id>/`."""

    def __init__(self, folder: Path, config: dict[str, Any], space: SearchSpace, storage: BaseStorage) -> None:
        self.dir, self.config, self.space, self._storage = folder, config, space, storage
        self.name: str = config["study"]
        with _quiet_optuna():
            directions = [_direction(o) for o in space.objectives]
            known = {s.study_name for s in storage.get_all_studies()}
            if self.name not in known:
                storage.create_new_study(directions, self.name)
            self._study_id = storage.get_study_id_from_name(self.name)
        self._ids: dict[str, int] = {}
        self._records: dict[str, TrialRecord] = {}
        for trial in storage.get_all_trials(self._study_id, deepcopy=False):
            if RECORD in trial.user_attrs:
                record = TrialRecord.from_json(json.loads(trial.user_attrs[RECORD]))
                self._ids[record.trial], self._records[record.trial] = trial._trial_id, record

    @classmethod
    def create(cls, folder: Path, config: dict[str, Any], space: SearchSpace) -> Self:
        """Make the study folder.

        Raises:
            InputError: the folder already holds a study.
        """
        cls.check_free(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / SPACE).write_text(space.to_yaml())
        except OSError as error:
            raise InputError(f"cannot write here ({error.strerror})", where=str(folder)) from error
        store = cls(folder, {**config, "function": space.function}, space, _storage(folder, config))
        store.save_config()
        return store

    @staticmethod
    def check_free(folder: Path) -> None:
        """Raise `InputError` unless a new study may be made in `folder`."""
        if (folder / CONFIG).exists():
            raise InputError(
                "the folder already holds a study", where=str(folder), remedy=f"nasdet resume {folder}, or name another"
            )
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError("not an empty folder", where=str(folder), remedy="name another with --study")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open an existing study folder.

        Raises:
            InputError: there is no study, or it is damaged.
        """
        try:
            config = json.loads((folder / CONFIG).read_text())
        except FileNotFoundError:
            raise InputError("no study in this folder", where=str(folder), remedy="see nasdet status") from None
        except (OSError, ValueError) as error:
            raise InputError(f"damaged {CONFIG}: {error}", where=str(folder)) from error
        space = load_space(folder / SPACE, function=bool(config.get("function")))
        return cls(folder, config, space, _storage(folder, config))

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is optimised."""
        return self.space.objectives

    def records(self) -> list[TrialRecord]:
        """Every proposal, in the order of their numbers."""
        return sorted(self._records.values(), key=lambda r: r.number)

    def get(self, trial: str) -> TrialRecord:
        """The record of one trial."""
        return self._records[trial]

    def put(self, record: TrialRecord) -> None:
        """Add a record, or replace the one of the same trial; durable when this returns."""
        known = self._ids.get(record.trial)
        if known is None:
            template = self._frozen(record)
            known = self._ids[record.trial] = self._storage.create_new_trial(self._study_id, template)
        elif self._records[record.trial].state in ("running", "paused"):
            self._storage.set_trial_user_attr(known, RECORD, json.dumps(record.to_json()))
            state = _STATES.get(record.state)
            if state is not None:
                self._storage.set_trial_state_values(known, state, self._values(record))
        else:
            raise ValueError(f"{record.trial} is {self._records[record.trial].state} and cannot change")
        self._records[record.trial] = record

    def save_config(self, **changes: Any) -> None:
        """Write `study.json` with these values changed, atomically."""
        self.config.update(changes)
        part = self.dir / f"{CONFIG}.{os.getpid()}.part"
        part.write_text(json.dumps(self.config, indent=1))
        part.replace(self.dir / CONFIG)

    def trial_dir(self, trial: str) -> Path:
        """Folder of a trial's checkpoint and weights."""
        return self.dir / "trials" / trial

    def checkpoint(self, trial: str) -> Path:
        """The evaluated weights of a trial as safetensors; kept for members of the front."""
        return self.trial_dir(trial) / "weights.safetensors"

    def summary(self) -> dict[str, Any]:
        """The object that `nasdet search --json` prints."""
        from nasdet.search.summary import summarise

        return summarise(self)

    def _frozen(self, record: TrialRecord) -> FrozenTrial:
        now = datetime.datetime.now()
        state = _STATES.get(record.state, TrialState.RUNNING)
        distributions: dict[str, BaseDistribution] = {
            name: distribution(self.space.parameters[name]) for name in record.params
        }
        return FrozenTrial(
            number=-1,
            trial_id=-1,
            state=state,
            value=None,
            values=self._values(record),
            datetime_start=now,
            datetime_complete=now if state.is_finished() else None,
            params={n: encode(self.space.parameters[n], v) for n, v in record.params.items()},
            distributions=distributions,
            user_attrs={RECORD: json.dumps(record.to_json())},
            system_attrs={},
            intermediate_values={},
        )

    def _values(self, record: TrialRecord) -> list[float] | None:
        if record.state != "complete":
            return None
        return [record.values[o.name] for o in self.objectives]


def _storage(folder: Path, config: dict[str, Any]) -> BaseStorage:
    url = config.get("storage") or f"sqlite:///{folder.absolute() / DATABASE}"
    with _quiet_optuna():
        try:
            return optuna.storages.get_storage(url)
        except Exception as error:
            reason = str(error).split("\n", 1)[0]
            raise InputError(
                f"cannot open the Optuna storage: {reason}", where=url, remedy="see --storage in nasdet search --help"
            ) from error


def _direction(objective: Objective) -> StudyDirection:
    return StudyDirection.MAXIMIZE if objective.direction == "max" else StudyDirection.MINIMIZE


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
