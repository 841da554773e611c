"""Trainings of a study's front that are repeated with further seeds.

They are kept apart from the study's trials, each in a folder of its own under `repeats/`, so that neither the study's
counts nor its front depend on them.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Self

from nasdet.files import atomic_write, previous
from nasdet.search.records.study_folder import CHECKPOINT
from nasdet.trial import TrialRecord

FOLDER = "repeats"
RECORD = "record.json"


@dataclasses.dataclass(frozen=True)
class Repeat:
    """A further training of a trial."""

    of: str
    """Id of the trial."""
    seed: int
    """Seed of this training."""
    record: TrialRecord
    """Its `trial` is the name of the repeat; its state is running, complete or failed."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(data["of"], data["seed"], TrialRecord.from_json(data["record"]))


class RepeatStore:
    """The repeated trainings in a study's folder.

    Args:
        study: the study's folder.
    """

    def __init__(self, study: Path) -> None:
        self.dir = study / FOLDER
        found = (_read(path) for path in sorted(self.dir.glob(f"*/{RECORD}")))
        self._all = {repeat.record.trial: repeat for repeat in found if repeat is not None}

    def all(self) -> list[Repeat]:
        """All repeats, in the order of their names."""
        return [self._all[name] for name in sorted(self._all)]

    def of(self, trial: str) -> list[Repeat]:
        """The repeats of a trial, by seed."""
        return sorted((r for r in self._all.values() if r.of == trial), key=lambda r: r.seed)

    def get(self, name: str) -> TrialRecord:
        """The record of a repeat."""
        return self._all[name].record

    def seed(self, name: str) -> int:
        """The seed of a repeat."""
        return self._all[name].seed

    def add(self, repeat: Repeat) -> None:
        """Add a repeat that is going to be trained; durable when this returns."""
        self._all[repeat.record.trial] = repeat
        self._write(repeat)

    def put(self, record: TrialRecord) -> None:
        """Replace the record of a repeat; durable when this returns."""
        repeat = dataclasses.replace(self._all[record.trial], record=record)
        self._all[record.trial] = repeat
        self._write(repeat)

    def trial_dir(self, name: str) -> Path:
        """Folder of a repeat."""
        return self.dir / name

    def prune(self) -> None:
        """Delete checkpoints and weights of repeats that have ended: no repeat is exported."""
        for repeat in self.all():
            if repeat.record.state != "running":
                folder = self.trial_dir(repeat.record.trial)
                checkpoint = folder / CHECKPOINT
                for path in (checkpoint, previous(checkpoint), folder / "weights.safetensors"):
                    path.unlink(missing_ok=True)

    def _write(self, repeat: Repeat) -> None:
        atomic_write(self.trial_dir(repeat.record.trial) / RECORD, json.dumps(repeat.to_json(), indent=1))


def _read(path: Path) -> Repeat | None:
    """None for a record that cannot be read: that training is repeated."""
    try:
        return Repeat.from_json(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, KeyError):
        return None
