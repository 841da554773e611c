"""`TrialRecord`: all that is known of one trial.

The front, MLflow, export and resume read this one value, which survives a JSON round trip.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, Self

State = Literal["running", "paused", "complete", "stopped", "failed", "infeasible", "duplicate"]
TRAINED: tuple[State, ...] = ("complete", "stopped", "failed", "paused", "running")
"""States of trials that trained, or are about to."""
NOT_TRAINED: tuple[State, ...] = ("infeasible", "duplicate")
"""States of proposals that never trained."""

NOT_PROMOTED, OUT_OF_TIME = "not promoted", "out of time"
"""Reasons of trials that were paused, or trained, when their search ended."""


@dataclasses.dataclass(frozen=True)
class Rung:
    """Values measured at one cumulative budget."""

    epochs: int
    """Epochs trained from the trial's start."""
    values: dict[str, float]
    told: int = 0
    """Number of results that the study had before this one, over all trials: the place of this one in their order."""


@dataclasses.dataclass(frozen=True)
class TrialRecord:
    """One candidate from proposal to its last result.

    `values` are those at the highest budget reached (`epochs`); only a record in state "complete" was trained at the
    full budget and may stand on a front. Units: ap, ap50, ap75 in 0..1, latency_ms in milliseconds, params_m in 1e6
    trainable parameters, gflops in 1e9 multiply-adds.
    """

    trial: str
    """Id, such as t0007."""
    number: int
    """Place in the order of proposals, from 0."""
    state: State
    params: dict[str, Any]
    """Sampled parameters under their flat names."""
    spec: dict[str, Any] | None = None
    """The detector; None in a study of a function."""
    recipe: dict[str, Any] | None = None
    """How the detector is trained; None in a study of a function."""
    values: dict[str, float] = dataclasses.field(default_factory=dict)
    epochs: int = 0
    rungs: tuple[Rung, ...] = ()
    """Results at growing numbers of epochs."""
    reason: str = ""
    """Why it was stopped, failed, is infeasible or a duplicate; else empty."""
    train_seconds: float = 0.0
    """Seconds of training and evaluation."""
    overhead_seconds: float = 0.0
    """Seconds between the end of the jobs before and the first steps of this trial's jobs."""

    @property
    def ended_with_search(self) -> bool:
        """Whether it was stopped only because the search ended: with more to spend, it may go on."""
        return self.state == "stopped" and self.reason in (NOT_PROMOTED, OUT_OF_TIME)

    def replace(self, **changes: Any) -> Self:
        """A copy with these fields changed."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Inverse of `to_json`."""
        rungs = tuple(Rung(**r) for r in data.get("rungs", ()))
        return cls(**{**data, "rungs": rungs})
