"""A study that lives in memory. One decision: it has what the engine needs of a store and nothing else; what it holds
survives as JSON through `TrialRecord.to_json` where a caller wants that."""

from __future__ import annotations

import abc
from collections.abc import Iterable

from typing_extensions import Unpack

from nasdet.search.records.ledger import Ledger
from nasdet.space import Objective, SearchSpace
from nasdet.study_config import ConfigChanges, StudyConfig
from nasdet.trial import TrialRecord


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
        """What is optimised."""
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

    @abc.abstractmethod
    def save_config(self, **changes: Unpack[ConfigChanges]) -> None:
        """Change values of `config`, as durably."""


class MemoryStore(Store):
    """The store of a study in process.

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
