"""What a study spent, and why candidates were not trained to the end. Reasons that differ only in numbers and trials
count as one, and one of them is quoted in full."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from nasdet.trial import TrialRecord

STATES = ("complete", "stopped", "failed", "paused", "running", "infeasible", "duplicate")


class Effort(NamedTuple):
    """What the trials of one state spent together."""

    state: str
    trials: int
    epochs: int
    train_seconds: float
    overhead_seconds: float
    """Between the end of one job and the first step of the next."""


class Reason(NamedTuple):
    """Why candidates of one state were not trained to the end."""

    state: str
    trials: int
    example: str
    """The reason of one of them, as recorded."""


def effort(records: Sequence[TrialRecord]) -> list[Effort]:
    """One row for each state that occurs."""
    groups = {state: [r for r in records if r.state == state] for state in STATES}
    return [
        Effort(
            state,
            len(group),
            sum(r.epochs for r in group),
            sum(r.train_seconds for r in group),
            sum(r.overhead_seconds for r in group),
        )
        for state, group in groups.items()
        if group
    ]


def reasons(records: Sequence[TrialRecord]) -> list[Reason]:
    """Why candidates were infeasible, duplicate, failed or stopped; the most frequent first within a state."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for record in records:
        if record.state not in ("complete", "running", "paused"):
            key = record.state, re.sub(r"\bt\d+\b|\d+(\.\d+)?(e[-+]?\d+)?", "#", record.reason)
            counts[key] += 1
            examples.setdefault(key, record.reason or "no reason was recorded")
    order = sorted(counts, key=lambda key: (STATES.index(key[0]), -counts[key]))
    return [Reason(key[0], counts[key], examples[key]) for key in order]
