"""What passes between the engine and its caller, who trains: a job says how far to train, never how."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from nasdet.trial import TrialRecord


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What the caller's builder makes of flat parameters."""

    spec: dict[str, Any] | None
    recipe: dict[str, Any] | None
    costs: dict[str, float]
    """Objectives known before training, such as params_m and gflops."""
    infeasible: str = ""
    """Why it must not be trained; empty if it may be."""


Build = Callable[[dict[str, Any]], Candidate]
"""Flat parameters -> what would be trained, and the costs that are known before training."""


@dataclasses.dataclass(frozen=True)
class Job:
    """Train this trial from `record.epochs` to `stop` cumulative epochs."""

    record: TrialRecord
    stop: int

    @property
    def params(self) -> dict[str, Any]:
        """The candidate's flat parameters."""
        return self.record.params


class Finished(Exception):
    """The budget is spent, or nothing is left to train."""
