"""What a sampler sees of a study.

One decision: observations at one rung only, so that results of short and long trainings are never mixed, and a bounded
number of them, so that a proposal after ten thousand trials takes as long as one after hundreds.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nasdet.pareto import as_costs, non_dominated
from nasdet.space import Objective, SearchSpace
from nasdet.trial import TrialRecord

Floats = NDArray[np.float64]
Values = dict[str, float]

MAX_HISTORY = 400
"""Observations that a sampler sees, and a quarter as many infeasible and failed candidates."""
BEST = 32
"""Of these, the best of the study. TPE models the 25 best, and apart from them the rest, which has to look as the whole
rest does: with the 100 best among 200, the second best stood for the bad ones and hypervolume was lost."""
GP_HISTORY = 80
"""Observations that the Gaussian process sees, half of them the best: its time grows with their cube."""
MIN_AT_RUNG = 8
"""Observations that a rung needs before a sampler learns from it."""


@dataclasses.dataclass(frozen=True)
class ProposalRequest:
    """A sampler is to propose candidate `number` of a study with this seed and these records."""

    space: SearchSpace
    records: Sequence[TrialRecord]
    seed: int
    number: int

    @property
    def proposal_seed(self) -> int:
        """Seed of this proposal, different for each number."""
        return (self.seed * 1_000_003 + self.number) & 0x7FFFFFFF


@dataclasses.dataclass(frozen=True)
class SamplerHistory:
    """What a sampler sees, in the order of the proposals.

    Attributes:
        observed: candidates with their values at one rung, the highest that has `MIN_AT_RUNG` of them.
        broken: candidates that are infeasible or failed.
        running: all candidates that run and are not among `observed`.
        duplicates: proposals in a row, up to the last one, that were duplicates.
    """

    observed: list[tuple[TrialRecord, Values]]
    broken: list[TrialRecord]
    running: list[TrialRecord]
    duplicates: int

    @property
    def candidates(self) -> list[TrialRecord]:
        """All candidates that the sampler sees."""
        return [*(record for record, _ in self.observed), *self.broken, *self.running]


def history(
    records: Sequence[TrialRecord], objectives: Sequence[Objective], rng: random.Random, most: int, best: int
) -> SamplerHistory:
    """Choose what a sampler sees: at most `most` observations, of them the `best` ones, the newest quarter, and random
    others; and at most a quarter of `most` infeasible and failed candidates.

    The best are the front, then the front without it, and so on; of the last of these fronts, which does not fit whole,
    members that are evenly spread along the first objective.
    """
    by_rung: dict[int, list[tuple[TrialRecord, Values]]] = defaultdict(list)
    broken: list[TrialRecord] = []
    running: list[TrialRecord] = []
    for record in records:
        if record.state in ("infeasible", "failed"):
            broken.append(record)
            continue
        if record.state == "running":
            running.append(record)
        for rung in record.rungs:
            by_rung[rung.epochs].append((record, rung.values))
    seen = by_rung[fidelity({epochs: len(pairs) for epochs, pairs in by_rung.items()})]
    kept = [seen[i] for i in _kept(seen, objectives, most, best, rng)]
    observed = {record.trial for record, _ in kept}
    if len(broken) > most // 4:
        broken = broken[-(most // 4) :]
    duplicates = sum(1 for _ in itertools.takewhile(lambda r: r.state == "duplicate", reversed(records)))
    return SamplerHistory(kept, broken, [r for r in running if r.trial not in observed], duplicates)


def fidelity(counts: Mapping[int, int]) -> int:
    """The highest rung, in epochs, with at least `MIN_AT_RUNG` observations; else the lowest rung; 0 if there is none.

    Args:
        counts: rung -> number of observations.
    """
    enough = [epochs for epochs, count in counts.items() if count >= MIN_AT_RUNG]
    return max(enough) if enough else min(counts, default=0)


def _kept(
    seen: Sequence[tuple[TrialRecord, Values]],
    objectives: Sequence[Objective],
    most: int,
    best: int,
    rng: random.Random,
) -> list[int]:
    """Indices of the observations that the sampler sees."""
    if len(seen) <= most:
        return list(range(len(seen)))
    names = [o.name for o in objectives]
    table = np.array([[*map(values.__getitem__, names)] for _, values in seen])
    chosen = _best(as_costs(table, [o.direction for o in objectives]), min(best, most // 2))
    chosen |= set(range(len(seen) - most // 4, len(seen)))
    rest = [i for i in range(len(seen)) if i not in chosen]
    return sorted([*chosen, *rng.sample(rest, most - len(chosen))])


def _best(costs: Floats, count: int) -> set[int]:
    """Indices of the `count` best rows, front by front; smaller is better."""
    if costs.shape[1] == 1:
        return {int(i) for i in np.argsort(costs[:, 0], kind="stable")[:count]}
    chosen: set[int] = set()
    left = np.arange(len(costs))
    while len(chosen) < count:
        on_front = non_dominated(costs[left], ["min"] * costs.shape[1])
        members = left[on_front][np.argsort(costs[left[on_front], 0], kind="stable")]
        places = np.linspace(0, len(members) - 1, min(count - len(chosen), len(members))).round().astype(int)
        chosen |= {int(i) for i in members[places]}
        left = left[~on_front]
    return chosen
