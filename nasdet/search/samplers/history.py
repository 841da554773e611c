"""What a sampler sees of a study. One decision: observations of one rung only, so that low budgets are never mixed with
high ones, and so many of them that a proposal after ten thousand trials takes as long as one after hundreds."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nasdet.pareto import as_costs, non_dominated
from nasdet.space import Objective
from nasdet.trial import TrialRecord

Floats = NDArray[np.float64]
Values = dict[str, float]

MIN_OBSERVATIONS = 8
"""A rung needs this many observations before a sampler learns from it."""


@dataclasses.dataclass(frozen=True)
class History:
    """What a sampler sees, in the order of the proposals.

    Attributes:
        observed: candidates and what they came to at one rung, the highest with `MIN_OBSERVATIONS`.
        broken: candidates that are infeasible or failed.
        running: candidates under way that are not among `observed`, all of them.
        repeats: proposals in a row, up to the last one, that were known already.
    """

    observed: list[tuple[TrialRecord, Values]]
    broken: list[TrialRecord]
    running: list[TrialRecord]
    repeats: int

    @property
    def candidates(self) -> list[TrialRecord]:
        """All that are seen."""
        return [*(record for record, _ in self.observed), *self.broken, *self.running]


def history(
    records: Sequence[TrialRecord], objectives: Sequence[Objective], rng: random.Random, most: int | None, best: int
) -> History:
    """Choose what a sampler sees: of `most` observations the `best` ones, a quarter the newest, the rest at random.

    The best are the front, then the front without it, and so on; of the last of them that doesn't fit, members evenly
    spread along the first objective.
    """
    at: dict[int, list[tuple[TrialRecord, Values]]] = defaultdict(list)
    broken: list[TrialRecord] = []
    running: list[TrialRecord] = []
    for record in records:
        if record.state in ("infeasible", "failed"):
            broken.append(record)
            continue
        if record.state == "running":
            running.append(record)
        for rung in record.rungs:
            at[rung.epochs].append((record, rung.values))
    seen = at[fidelity({epochs: len(found) for epochs, found in at.items()})]
    kept = [seen[i] for i in _kept(seen, objectives, most, best, rng)]
    shown = {record.trial for record, _ in kept}
    if most is not None and len(broken) > most // 4:
        broken = broken[-(most // 4) :]
    repeats = sum(1 for _ in itertools.takewhile(lambda r: r.state == "duplicate", reversed(records)))
    return History(kept, broken, [r for r in running if r.trial not in shown], repeats)


def fidelity(counts: Mapping[int, int]) -> int:
    """The highest rung, in epochs, with at least `MIN_OBSERVATIONS` of the counted observations; else the lowest; 0 if
    there is none."""
    enough = [epochs for epochs, count in counts.items() if count >= MIN_OBSERVATIONS]
    return max(enough) if enough else min(counts, default=0)


def _kept(
    seen: Sequence[tuple[TrialRecord, Values]],
    objectives: Sequence[Objective],
    most: int | None,
    best: int,
    rng: random.Random,
) -> list[int]:
    if most is None or len(seen) <= most:
        return list(range(len(seen)))
    names = [o.name for o in objectives]
    table = np.array([[*map(values.__getitem__, names)] for _, values in seen])
    chosen = _best(as_costs(table, [o.direction for o in objectives]), min(best, most // 2))
    chosen |= set(range(len(seen) - most // 4, len(seen)))
    rest = [i for i in range(len(seen)) if i not in chosen]
    return sorted([*chosen, *rng.sample(rest, most - len(chosen))])


def _best(costs: Floats, count: int) -> set[int]:
    """The first so many rows by layers, smaller is better."""
    if costs.shape[1] == 1:
        return {int(i) for i in np.argsort(costs[:, 0], kind="stable")[:count]}
    chosen: set[int] = set()
    left = np.arange(len(costs))
    while len(chosen) < count:
        on = non_dominated(costs[left], ["min"] * costs.shape[1])
        layer = left[on][np.argsort(costs[left[on], 0], kind="stable")]
        places = np.linspace(0, len(layer) - 1, min(count - len(chosen), len(layer))).round().astype(int)
        chosen |= {int(i) for i in layer[places]}
        left = left[~on]
    return chosen
