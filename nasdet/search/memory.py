"""A study that lives in memory. One decision: it has what the engine needs of a store and nothing else; what it holds
survives as JSON through `TrialRecord.to_json` where a caller wants that."""

from __future__ import annotations

from typing import Any, Protocol

from nasdet.search.ledger import Ledger
from nasdet.space import Objective, SearchSpace
from nasdet.space.trial import TrialRecord


class Store(Protocol):
    """What the engine needs of a study's store."""

    config: dict[str, Any]
    space: SearchSpace
    ledger: Ledger

    def records(self) -> list[TrialRecord]:
        """Every proposal, in the order of their numbers."""

    def get(self, trial: str) -> TrialRecord:
        """The record of one trial."""

    def put(self, record: TrialRecord) -> None:
        """Add a record, or replace the one of the same trial."""

    def save_config(self, **changes: Any) -> None:
        """Change values of `config`, for good."""


class MemoryStore:
    """The store of a study in process.

    Args:
        space: what is searched.
        records: of an earlier study, to go on with.
    """

    def __init__(self, space: SearchSpace, records: list[TrialRecord] | None = None) -> None:
        self.space = space
        self.config: dict[str, Any] = {"study": space.name, "data": "", "wall_seconds": 0.0}
        self.ledger = Ledger(records or ())

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

    def put(self, record: TrialRecord) -> None:
        """Add a record, or replace the one of the same trial."""
        self.ledger.put(record)

    def save_config(self, **changes: Any) -> None:
        """Change values of `config`."""
        self.config.update(changes)
