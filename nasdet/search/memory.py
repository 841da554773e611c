"""A study that lives in memory. One decision: it has what the engine needs of a store and nothing else; what it holds
survives as JSON through `TrialRecord.to_json` where a caller wants that."""

from __future__ import annotations

from typing import Any, Protocol

from nasdet.space import Objective, SearchSpace
from nasdet.space.trial import TrialRecord


class Store(Protocol):
    """What the engine needs of a study's store."""

    config: dict[str, Any]
    space: SearchSpace

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
        self._records = {r.trial: r for r in sorted(records or [], key=lambda r: r.number)}

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is optimised."""
        return self.space.objectives

    def records(self) -> list[TrialRecord]:
        """Every proposal, in the order of their numbers."""
        return list(self._records.values())

    def get(self, trial: str) -> TrialRecord:
        """The record of one trial."""
        return self._records[trial]

    def put(self, record: TrialRecord) -> None:
        """Add a record, or replace the one of the same trial."""
        known = self._records.get(record.trial)
        if known is not None and known.state not in ("running", "paused"):
            raise ValueError(f"{record.trial} is {known.state} and cannot change")
        self._records[record.trial] = record

    def save_config(self, **changes: Any) -> None:
        """Change values of `config`."""
        self.config.update(changes)
