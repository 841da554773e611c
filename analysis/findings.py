"""What a study found, in sentences, each from its own figures: what was tried, what mattered, what may gain most next.
Printed at the end of a search, and on its report."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator, Sequence
from typing import Any

from nasdet.analysis.importance import MIN_TRIALS, Importance, importance, too_few
from nasdet.pareto import as_costs, values_of
from nasdet.space import Objective, SearchSpace
from nasdet.space.domains import Choice, Integer, Real
from nasdet.space.schema import COSTS
from nasdet.trial import Rung, TrialRecord

TOLD = ("input.size", "neck.min_stride")
"""Parameters of which all values that were tried are told."""
MOST = 3
"""Parameters named as having mattered, for each objective."""
TOP = 5
"""Candidates trained in full that count as the best, as in `nasdet.analysis.importance`."""
STILL = 0.02
"""Relative gain between the last two results from which a candidate counts as still gaining."""
SMALL = 0.6
"""Share of the AP of medium objects below which that of small ones is worth a sentence."""
LATE, EARLY = 0.75, 0.5
"""Shares of the results after and before which the place of the best one means something."""
FEW = 4
"""Candidates trained in full below which it does not."""


def findings(records: Sequence[TrialRecord], space: SearchSpace) -> list[str]:
    """The sentences, in the order of their subject; empty if nothing was measured, or only one candidate was wanted.

    Args:
        records: of the study.
        space: what was searched.
    """
    trained = [record for record in records if record.rungs]
    if not trained or space.budget.trials == 1:
        return []
    return [*_tried(trained, space), *_mattered(trained, space), *_next(trained, space)]


def _tried(trained: Sequence[TrialRecord], space: SearchSpace) -> Iterator[str]:
    """How the values of a parameter did at the first comparison, which all candidates have reached."""
    first, objective = space.rungs()[0], space.objectives[0]
    for name in TOLD:
        found: dict[Any, list[float]] = collections.defaultdict(list)
        for record in trained:
            if record.rungs[0].epochs == first and name in record.params:
                found[record.params[name]].append(record.rungs[0].values[objective.name])
        if len(found) > 1:
            best = max if objective.direction == "max" else min
            values = [
                f"{value} ({_count(len(own))}, best {objective.name} {best(own):.3g})"
                for value, own in sorted(found.items())
            ]
            yield f"Tried for {name}, after {first} epochs: {', '.join(values)}."


def _count(candidates: int) -> str:
    return "1 candidate" if candidates == 1 else f"{candidates} candidates"


def _mattered(trained: Sequence[TrialRecord], space: SearchSpace) -> Iterator[str]:
    if too_few(trained):
        complete = sum(record.state == "complete" for record in trained)
        yield (
            f"What mattered cannot be told yet: that takes {MIN_TRIALS} candidates trained in full, and there "
            f"{'is' if complete == 1 else 'are'} {complete}."
        )
        return
    rows = importance(trained, space)
    for objective in space.objectives:
        best = _best(trained, objective)
        clear = [row for row in rows if row.objective == objective.name and row.share > row.chance and _may(row)][:MOST]
        if clear:
            told = ", ".join(f"{row.parameter} ({row.share:.0%}; {_values(row, best)})" for row in clear)
            yield f"For {objective.name} mattered most, with the values of the best {len(best)}: {told}."
            if objective is space.objectives[0]:
                yield from filter(None, (_at_an_end(row, best, space) for row in clear))
        else:
            yield f"For {objective.name} no parameter mattered more than chance makes it seem."


def _may(row: Importance) -> bool:
    """Whether the parameter can matter: the recipe changes no cost of the network, however the few best came by it."""
    return row.objective not in COSTS or not row.parameter.startswith("recipe.")


def _best(trained: Sequence[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """The candidates trained in full with the best values, best first."""
    complete = [record for record in trained if record.state == "complete"]
    costs = as_costs(values_of(complete, [objective]), [objective.direction])[:, 0] if complete else ()
    return [complete[i] for i in sorted(range(len(complete)), key=lambda i: costs[i])[:TOP]]


def _values(row: Importance, best: Sequence[TrialRecord]) -> str:
    """What the best candidates have, such as "24 to 40" or "4 of 5 gn"."""
    own = [record.params[row.parameter] for record in best if row.parameter in record.params]
    if not own:
        return "absent"
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in own):
        low, high = min(own), max(own)
        return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
    value, times = collections.Counter(map(str, own)).most_common(1)[0]
    return value if times == len(own) else f"{times} of {len(own)} {value}"


def _at_an_end(row: Importance, best: Sequence[TrialRecord], space: SearchSpace) -> str:
    """Whether most of the best candidates have the least or the largest value of a parameter."""
    domain = space.parameters[row.parameter]
    own = [record.params.get(row.parameter) for record in best]
    for end, value in zip(("smallest", "largest"), _ends(domain), strict=False):
        if 2 * own.count(value) > len(best):
            return (
                f"{row.parameter} is best at its {end} value, {value:.3g}: a space that goes further may hold better."
            )
    return ""


def _ends(domain: Choice | Integer | Real) -> tuple[float, ...]:
    if isinstance(domain, Integer):
        return domain.low, domain.high
    if isinstance(domain, Choice) and len(domain.values) > 2:
        numbers = [v for v in domain.values if isinstance(v, int | float) and not isinstance(v, bool)]
        return (min(numbers), max(numbers)) if len(numbers) == len(domain.values) else ()
    return ()


def _next(trained: Sequence[TrialRecord], space: SearchSpace) -> Iterator[str]:
    """Whether longer training or longer searching may gain more."""
    objective = space.objectives[0]
    best = next(iter(_best(trained, objective)), None)
    if best is None:
        yield "No candidate was trained in full: a longer --time-limit or a smaller --max-epochs helps."
        return
    if len(best.rungs) > 1:
        before, last = best.rungs[-2:]
        gain, at = _gain(before, last, objective), last.values[objective.name]
        span = f"{objective.name} from {before.epochs} to {last.epochs} epochs"
        if gain > STILL * abs(at):
            yield f"{best.trial}, the best, still gained {gain:.2g} {span}: a longer training is likely to gain more."
        else:
            yield f"{best.trial}, the best, gained no more than {max(gain, 0.0):.2g} {span}: longer adds little."
    small, medium = best.values.get("ap_s", -1.0), best.values.get("ap_m", -1.0)
    if 0 <= small < SMALL * medium:
        yield (
            f"Objects below 32 x 32 pixels are found worst, ap_s {small:.3g} against ap_m {medium:.3g}: a larger "
            "input, a finer level (neck.min_stride) or tiles may help."
        )
    complete = [record for record in trained if record.state == "complete"]
    if len(complete) < FEW:
        return
    results = sum(len(record.rungs) for record in trained)
    place = (best.rungs[-1].told + 1) / results
    if place > LATE:
        yield "It was found in the last quarter of the search: more time for the search may find a better one."
    elif place < EARLY:
        part = math.ceil(100 * place)
        yield f"Nothing better came after the first {part}% of the results: more search of the same space adds little."


def _gain(before: Rung, last: Rung, objective: Objective) -> float:
    change = last.values[objective.name] - before.values[objective.name]
    return change if objective.direction == "max" else -change
