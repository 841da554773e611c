"""`TrialRecord`: all that is known of one trial. One decision: every consumer (front, MLflow, export, resume) reads
this one value, and it survives a JSON round trip."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, Self

State = Literal["running", "paused", "complete", "stopped", "failed", "infeasible", "duplicate"]
TRAINED: tuple[State, ...] = ("complete", "stopped", "failed", "paused", "running")
"""States of trials that trained, or are about to."""
NOT_TRAINED: tuple[State, ...] = ("infeasible", "duplicate")
"""States of proposals that never trained."""


@dataclasses.dataclass(frozen=True)
class Rung:
    """Values measured at one cumulative budget."""

    epochs: int
    values: dict[str, float]
    told: int = 0
    """Results that the study had been told before this one."""


@dataclasses.dataclass(frozen=True)
class TrialRecord:
    """One candidate from proposal to its last result.

    `values` are those at the highest budget reached (`epochs`); only a record in state "complete" was trained at the
    full budget and may stand on a front. Units: ap, ap50, ap75 in 0..1, latency_ms in milliseconds, params_m in 1e6
    trainable parameters, gflops in 1e9 multiply-adds.
    """

    trial: str
    number: int
    state: State
    params: dict[str, Any]
    spec: dict[str, Any] | None = None
    recipe: dict[str, Any] | None = None
    values: dict[str, float] = dataclasses.field(default_factory=dict)
    epochs: int = 0
    rungs: tuple[Rung, ...] = ()
    reason: str = ""
    train_seconds: float = 0.0
    overhead_seconds: float = 0.0

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
