"""What the engine needs of a study's store, and a store in memory."""

from __future__ import annotations

import abc
import bisect
import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager

from typing_extensions import Unpack

from nasdet.space import Objective, SearchSpace
from nasdet.study_config import ConfigChanges, Limits, StudyConfig
from nasdet.trial import NOT_TRAINED, TrialRecord


class Ledger:
    """The records of a study, and what is counted over all of them. Counts follow each record as it is put, so that a
    decision late in a study does not walk ten thousand records to learn how many of them trained.

    Args:
        records: of an earlier study, to go on with, in any order.

    Attributes:
        told: number of results, of all trials at all rungs.
        epochs: trained over all trials.
        train_seconds: spent on training over all trials.
        reached: number of trials by the epochs that they were trained.
    """

    def __init__(self, records: Iterable[TrialRecord] = ()) -> None:
        self._ordered: list[TrialRecord] = []
        self._place: dict[str, int] = {}
        self._states: Counter[str] = Counter()
        self._reached: dict[int, list[tuple[int, str]]] = {}
        self._paused: set[int] = set()
        self._reopened: set[str] = set()
        self.told, self.epochs, self.train_seconds = 0, 0, 0.0
        self.reached: Counter[int] = Counter()
        for record in sorted(records, key=lambda r: r.number):
            self.put(record)

    def __len__(self) -> int:
        return len(self._ordered)

    def __contains__(self, trial: str) -> bool:
        return trial in self._place

    def records(self) -> list[TrialRecord]:
        """Every proposal, in the order of their numbers."""
        return list(self._ordered)

    def get(self, trial: str) -> TrialRecord:
        """The record of one trial."""
        return self._ordered[self._place[trial]]

    def count(self, *states: str) -> int:
        """How many records are in one of these states."""
        return sum(self._states[state] for state in states)

    @property
    def trained(self) -> int:
        """Trials that train or have trained."""
        return len(self) - self.count(*NOT_TRAINED)

    def paused(self) -> list[TrialRecord]:
        """The paused records, in the order of their numbers."""
        return [self._ordered[place] for place in sorted(self._paused)]

    def newest(self, epochs: int, most: int) -> list[TrialRecord]:
        """The records with the `most` newest results at this rung, in the order of the records' numbers."""
        told = self._reached.get(epochs, [])[-most:]
        return sorted((self.get(trial) for _, trial in told), key=lambda r: r.number)

    def put(self, record: TrialRecord) -> None:
        """Add a record whose number is the highest, or replace the one of the same trial.

        Raises:
            ValueError: the trial has ended; see `reopen`.
        """
        self.check(record)
        self._reopened.discard(record.trial)
        place = self._place.setdefault(record.trial, len(self._ordered))
        rungs = 0
        if place < len(self._ordered):
            self._count(self._ordered[place], -1)
            rungs = len(self._ordered[place].rungs)
            self._ordered[place] = record
        else:
            self._ordered.append(record)
        self._count(record, 1)
        (self._paused.add if record.state == "paused" else self._paused.discard)(place)
        for rung in record.rungs[rungs:]:
            bisect.insort(self._reached.setdefault(rung.epochs, []), (rung.told, record.trial))

    def check(self, record: TrialRecord) -> None:
        """Raise `ValueError` unless the record may be put."""
        if record.trial not in self or record.trial in self._reopened:
            return
        if (state := self.get(record.trial).state) not in ("running", "paused"):
            raise ValueError(f"{record.trial} is {state} and cannot change")

    def reopen(self, trial: str) -> None:
        """Let the next `put` change a trial that was stopped."""
        if self.get(trial).state != "stopped":
            raise ValueError(f"{trial} is {self.get(trial).state}, not stopped")
        self._reopened.add(trial)

    def _count(self, record: TrialRecord, sign: int) -> None:
        self._states[record.state] += sign
        self.told += sign * len(record.rungs)
        self.epochs += sign * record.epochs
        self.reached[record.epochs] += sign
        self.train_seconds += sign * record.train_seconds


class Store(abc.ABC):
    """What the engine needs of a study's store.

    Args:
        config: the study's settings.
        space: what is searched.
        records: known already.
    """

    def __init__(self, config: StudyConfig, space: SearchSpace, records: Iterable[TrialRecord]) -> None:
        self.config, self.space = config, space
        self.ledger = Ledger(records)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives of the search space."""
        return self.space.objectives

    def records(self) -> list[TrialRecord]:
        """Every proposal, in the order of their numbers."""
        return self.ledger.records()

    def get(self, trial: str) -> TrialRecord:
        """The record of one trial."""
        return self.ledger.get(trial)

    @abc.abstractmethod
    def put(self, record: TrialRecord) -> None:
        """Add a record, or replace the one of the same trial; as durable as the store is when this returns."""

    def limit(self, limits: Limits) -> None:
        """Search up to these limits instead of those before; as durable."""
        self.space = self.space.with_limits(**dataclasses.asdict(limits))
        self.save_config(limits=limits, finished=False)

    def own(self) -> AbstractContextManager[None]:
        """Be the only one that writes the study while a block runs."""
        return contextlib.nullcontext()

    def can_continue(self, record: TrialRecord) -> bool:
        """Whether what a trial needs to go on from its last result is still there."""
        return True

    @abc.abstractmethod
    def save_config(self, **changes: Unpack[ConfigChanges]) -> None:
        """Change values of `config`, as durably."""


class MemoryStore(Store):
    """A study in memory.

    Args:
        space: what is searched.
        records: of an earlier study, to go on with.
    """

    def __init__(self, space: SearchSpace, records: list[TrialRecord] | None = None) -> None:
        super().__init__(StudyConfig(study=space.name, data=""), space, records or ())

    def put(self, record: TrialRecord) -> None:
        """Add a record, or replace the one of the same trial."""
        self.ledger.put(record)

    def save_config(self, **changes: Unpack[ConfigChanges]) -> None:
        """Change values of `config`."""
        self.config = self.config.replace(**changes)
