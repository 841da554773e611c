"""A study on disk: a folder with `study.json`, `space.yaml`, the trials' own folders and, unless another one is named,
the Optuna storage.

One decision: a storage is only made, and a study in it only adopted, by `create`; `open` never makes one anew.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from optuna.exceptions import StorageInternalError
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from typing_extensions import Unpack

from nasdet.errors import InputError, NasdetError, nearest
from nasdet.files import atomic_write
from nasdet.log import in_short, logger
from nasdet.search.records.optuna_storage import OptunaStorage
from nasdet.search.records.owner import LEASE, LOCK, own
from nasdet.search.records.store import Store
from nasdet.space import SearchSpace, load_space
from nasdet.study_config import ConfigChanges, StudyConfig
from nasdet.trial import TrialRecord
from nasdet.uris import public_uri, sqlite_path

CONFIG = "study.json"
SPACE = "space.yaml"
DATABASE = "optuna.db"
HALF_MADE = (SPACE, DATABASE, f"{DATABASE}-journal")
"""What a study consists of before it is one."""
SECONDS_TO_MEND = 60.0
"""How long a write that fails is tried again."""
SECONDS_BETWEEN_WRITES = 2.0
CHECKPOINT = "checkpoint.pt"
"""In a trial's folder: all that its training goes on from."""


class StudyStore(Store):
    """All that is kept of one study. Its methods may be called from several threads at the same time."""

    def __init__(self, folder: Path, config: StudyConfig, space: SearchSpace, storage: OptunaStorage) -> None:
        super().__init__(config, space, storage.records)
        self.dir, self.name, self._storage = folder, config.study, storage
        self._lock = threading.RLock()

    @classmethod
    def create(cls, folder: Path, config: StudyConfig, space: SearchSpace) -> Self:
        """Make the study folder.

        Raises:
            InputError: the folder already holds a study, or the storage one of this name, or cannot be used.
        """
        cls.check_free(folder)
        url = _url(folder, config)
        for name in HALF_MADE:
            (folder / name).unlink(missing_ok=True)
        try:
            for made in (folder, (sqlite_path(url) or folder / SPACE).parent):
                made.mkdir(parents=True, exist_ok=True)
            (folder / SPACE).write_text(space.to_yaml())
        except OSError as error:
            raise InputError(f"cannot write here ({error.strerror})", where=str(folder)) from error
        try:
            storage = OptunaStorage.create(url, config.study, space)
        except InputError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        store = cls(folder, config.model_copy(update={"function": space.function}), space, storage)
        store.save_config()
        return store

    @staticmethod
    def check_free(folder: Path) -> None:
        """Raise `InputError` unless a new study may be made in `folder`."""
        if (folder / CONFIG).exists():
            remedy = f"{shlex.join(['nasdet', 'resume', str(folder)])}, or name another"
            raise InputError("the folder already holds a study", where=str(folder), remedy=remedy)
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else {""} if folder.exists() else set()
        # Without study.json, the name of an owner means that its process died while it made the study.
        if names - {LOCK, LEASE, *(HALF_MADE if names & {LOCK, LEASE} else ())}:
            raise InputError("not an empty folder", where=str(folder), remedy="name another with --study")

    @classmethod
    def open(cls, folder: Path, *, storage: str | None = None) -> Self:
        """Open an existing study folder.

        Args:
            folder: of the study.
            storage: URI of the Optuna storage where it has moved; None: the one that the study names.

        Raises:
            InputError: there is no study, or it is damaged.
        """
        config = _read_config(folder)
        config = config.replace(storage=storage) if storage else config
        space = load_space(folder / SPACE, function=config.function)
        if config.limits is not None:
            space = space.with_limits(**dataclasses.asdict(config.limits))
        url = _url(folder, config)
        path = sqlite_path(url)
        if path is not None and not path.is_file():
            remedy = f"put it back, or correct `storage` in {folder / CONFIG}"
            raise InputError("the study's storage is missing", where=str(path), remedy=remedy)
        return cls(folder, config, space, OptunaStorage(url, config.study, space))

    def remove(self) -> None:
        """Undo `create`."""
        self._storage.delete()
        shutil.rmtree(self.dir, ignore_errors=True)

    def put(self, record: TrialRecord) -> None:
        """Add a record, or replace the one of the same trial; durable when this returns."""
        with self._lock:
            self.ledger.check(record)
            self._write(lambda: self._storage.put(record))
            self.ledger.put(record)

    def save_config(self, **changes: Unpack[ConfigChanges]) -> None:
        """Write `study.json` with these values changed; durable when this returns."""
        with self._lock:
            config = self.config.replace(**changes)
            self._write(lambda: atomic_write(self.dir / CONFIG, json.dumps(config.to_json(), indent=1)))
            self.config = config

    def _write(self, write: Callable[[], None]) -> None:
        """Write, and wait for a disk that is full, or a server that is away, but not for ever.

        Raises:
            NasdetError: it stays so.
        """
        deadline = time.monotonic() + SECONDS_TO_MEND
        while True:
            try:
                return write()
            except (OSError, OperationalError, StorageInternalError) as error:
                reason = public_uri(in_short(error.__cause__ or error))
                if time.monotonic() > deadline:
                    what = f"the study cannot be written: {reason}"
                    raise NasdetError(f"{what}; make room or mend it, then go on with nasdet resume") from error
                logger.warning("the study cannot be written and is tried again: %s", reason)
                time.sleep(SECONDS_BETWEEN_WRITES)

    def trial_dir(self, trial: str) -> Path:
        """Folder of a trial's checkpoint and weights."""
        return self.dir / "trials" / trial

    def own(self) -> AbstractContextManager[None]:
        """Be the only one that writes the study while a block runs; raises `InputError` if another one is."""
        return own(self.dir)

    def can_continue(self, record: TrialRecord) -> bool:
        """Whether a trial has its checkpoint, if it needs one."""
        return self.space.function or not record.epochs or (self.trial_dir(record.trial) / CHECKPOINT).is_file()

    def checkpoint(self, trial: str) -> Path:
        """The evaluated weights of a trial as safetensors; kept for trials that can be exported."""
        return self.trial_dir(trial) / "weights.safetensors"


def study_root() -> Path:
    """`$NASDET_HOME/studies`, else `./studies`."""
    home = os.environ.get("NASDET_HOME")
    return Path(home, "studies") if home else Path("studies")


def find_study(name: str | Path | None = None) -> Path:
    """The folder of a study that is named by its folder, or by its name under the study root; without a name the newest
    one is meant.

    Raises:
        InputError: there is none of that name, or none at all.
    """
    root = study_root()
    studies = sorted(root.glob(f"*/{CONFIG}"), key=lambda p: p.stat().st_mtime)
    if name is None:
        if not studies:
            raise InputError("no study here yet", where=str(root), remedy="start one with nasdet search SPACE")
        return studies[-1].parent
    for folder in (Path(name), root / name):
        if (folder / CONFIG).is_file():
            return folder
    known = nearest(str(name), [p.parent.name for p in studies]) if studies else "there is none yet"
    raise InputError(f"no study {str(name)!r}", where=str(root), remedy=known)


def open_study(name: str | Path | None = None) -> StudyStore:
    """Open a study by folder or name; the newest one without a name."""
    return StudyStore.open(find_study(name))


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
