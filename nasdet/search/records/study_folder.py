"""A study on disk. One decision: the Optuna storage holds every trial, and the trial's whole record is one user
attribute of it, so that a study is resumed from, and opens in Optuna's own tools from, the same place. A storage is
never made, and a study in it never adopted, but by `create`."""

from __future__ import annotations

import datetime
import functools
import json
import os
import shlex
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError
from typing_extensions import Unpack

from nasdet.errors import InputError
from nasdet.search.records.read_sqlite import read_records
from nasdet.search.records.store import Store
from nasdet.search.samplers.distributions import direction, distribution, encode
from nasdet.space import SearchSpace, load_space
from nasdet.study_config import ConfigChanges, StudyConfig
from nasdet.trial import TrialRecord
from nasdet.uris import public_uri, sqlite_path

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


class StudyStore(Store):
    """All that is kept of one study: `study.json`, `space.yaml`, the Optuna storage, `trials/<id>/`."""

    def __init__(self, folder: Path, config: StudyConfig, space: SearchSpace) -> None:
        self.dir, self.config, self.name = folder, config, config.study
        path = sqlite_path(_url(folder, config))
        known = read_records(path, self.name, RECORD) if path else None
        self._study_id, records = known or self._read()
        self._ids = {record.trial: number for number, record in records.items()}
        super().__init__(config, space, records.values())

    @functools.cached_property
    def _storage(self) -> BaseStorage:
        return _storage(_url(self.dir, self.config))

    def _read(self) -> tuple[int, dict[int, TrialRecord]]:
        """The study's id and its records by Optuna's trial id, as Optuna reads them."""
        try:
            study_id = self._storage.get_study_id_from_name(self.name)
        except KeyError:
            what, remedy = f"the storage holds no study {self.name!r}", f"correct `storage` in {self.dir / CONFIG}"
            raise InputError(what, where=public_uri(_url(self.dir, self.config)), remedy=remedy) from None
        trials = self._storage.get_all_trials(study_id, deepcopy=False)
        texts = {t._trial_id: t.user_attrs[RECORD] for t in trials if RECORD in t.user_attrs}
        return study_id, {number: TrialRecord.from_json(json.loads(text)) for number, text in texts.items()}

    @classmethod
    def create(cls, folder: Path, config: StudyConfig, space: SearchSpace) -> Self:
        """Make the study folder.

        Raises:
            InputError: the folder already holds a study, or the storage one of this name, or cannot be used.
        """
        cls.check_free(folder)
        url = _url(folder, config)
        try:
            for made in (folder, (sqlite_path(url) or folder / SPACE).parent):
                made.mkdir(parents=True, exist_ok=True)
            (folder / SPACE).write_text(space.to_yaml())
        except OSError as error:
            raise InputError(f"cannot write here ({error.strerror})", where=str(folder)) from error
        try:
            _add_study(_storage(url), config.study, space, url)
        except InputError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        store = cls(folder, config.model_copy(update={"function": space.function}), space)
        store.save_config()
        return store

    @staticmethod
    def check_free(folder: Path) -> None:
        """Raise `InputError` unless a new study may be made in `folder`."""
        if (folder / CONFIG).exists():
            remedy = f"{shlex.join(['nasdet', 'resume', str(folder)])}, or name another"
            raise InputError("the folder already holds a study", where=str(folder), remedy=remedy)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError("not an empty folder", where=str(folder), remedy="name another with --study")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open an existing study folder.

        Raises:
            InputError: there is no study, or it is damaged.
        """
        config = _read_config(folder)
        space = load_space(folder / SPACE, function=config.function)
        url = _url(folder, config)
        path = sqlite_path(url)
        if path is not None and not path.is_file():
            remedy = f"put it back, or correct `storage` in {folder / CONFIG}"
            raise InputError("the study's storage is missing", where=str(path), remedy=remedy)
        return cls(folder, config, space)

    def remove(self) -> None:
        """Undo `create`."""
        self._storage.delete_study(self._study_id)
        shutil.rmtree(self.dir, ignore_errors=True)

    def put(self, record: TrialRecord) -> None:
        """Add a record, or replace the one of the same trial; durable when this returns."""
        self.ledger.check(record)
        known = self._ids.get(record.trial)
        if known is None:
            self._ids[record.trial] = self._storage.create_new_trial(self._study_id, self._frozen(record))
        else:
            self._storage.set_trial_user_attr(known, RECORD, json.dumps(record.to_json()))
            state = _STATES.get(record.state)
            if state is not None:
                self._storage.set_trial_state_values(known, state, self._values(record))
        self.ledger.put(record)

    def save_config(self, **changes: Unpack[ConfigChanges]) -> None:
        """Write `study.json` with these values changed, atomically."""
        self.config = self.config.replace(**changes)
        part = self.dir / f"{CONFIG}.{os.getpid()}.part"
        part.write_text(json.dumps(self.config.to_json(), indent=1))
        part.replace(self.dir / CONFIG)

    def trial_dir(self, trial: str) -> Path:
        """Folder of a trial's checkpoint and weights."""
        return self.dir / "trials" / trial

    def checkpoint(self, trial: str) -> Path:
        """The evaluated weights of a trial as safetensors; kept for whatever can be picked."""
        return self.trial_dir(trial) / "weights.safetensors"

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


def _read_config(folder: Path) -> StudyConfig:
    try:
        config = json.loads((folder / CONFIG).read_text())
        for key in ("study", "data"):
            if not isinstance(config, dict) or not isinstance(config.get(key), str):
                raise ValueError(f"it does not say {key!r}")
        return StudyConfig.from_json(config)
    except FileNotFoundError:
        raise InputError("no study in this folder", where=str(folder), remedy="see nasdet status") from None
    except ValidationError as error:
        wrong = error.errors()[0]
        what = f"damaged {CONFIG}: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"
        raise InputError(what, where=str(folder)) from error
    except (OSError, ValueError) as error:
        raise InputError(f"damaged {CONFIG}: {error}", where=str(folder)) from error


def _url(folder: Path, config: StudyConfig) -> str:
    return config.storage or f"sqlite:///{folder.absolute() / DATABASE}"


def _storage(url: str) -> BaseStorage:
    with quiet_optuna():
        try:
            return optuna.storages.get_storage(url)
        except Exception as error:
            reason = public_uri(str(error).split("\n", 1)[0])
            raise InputError(
                f"cannot open the Optuna storage: {reason}",
                where=public_uri(url),
                remedy="see --storage in nasdet search --help",
            ) from error


def _add_study(storage: BaseStorage, name: str, space: SearchSpace, url: str) -> None:
    with quiet_optuna():
        try:
            storage.create_new_study([direction(o) for o in space.objectives], name)
            with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
                study = optuna.load_study(study_name=name, storage=storage)
                study.set_metric_names([o.name for o in space.objectives])
        except DuplicatedStudyError:
            what = f"the storage already holds a study {name!r}"
            raise InputError(what, where=public_uri(url), remedy="name another folder with --study") from None


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna says errors only."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
