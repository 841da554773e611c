"""Which trial of a study to take. Every rule looks at complete trials only, and an error lists what there is."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence

from nasdet.errors import InputError, nearest
from nasdet.pareto import ObjectiveLike, front, knee, values_of
from nasdet.trial import TrialRecord

WHERE = "--pick"
RULES = ("knee", "best", "fastest", "smallest")
_BOUND = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*([-+0-9.eE]+)\s*")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def pick(records: Sequence[TrialRecord], objectives: Sequence[ObjectiveLike], rule: str) -> TrialRecord:
    """Choose a trial.

    Args:
        records: all of a study.
        objectives: of the study; the first one decides what "best" means.
        rule: knee (of the front), best (first objective), fastest (latency_ms), smallest (params_m), a trial's name,
            or bounds such as "latency_ms<5 and params_m<=2": the best trial within them. Equals are decided by the
            other objectives, then by the earlier trial.

    Raises:
        InputError: the rule is unknown or nothing fits it.
    """
    text = rule.strip()
    by_name = {r.trial: r for r in records}
    if text in by_name:
        return _named(by_name[text])
    complete = [r for r in records if r.state == "complete"]
    if not complete:
        raise InputError(
            "no trial has been trained at the full budget",
            where=WHERE,
            remedy="search with a larger --time-limit or fewer --max-epochs",
        )
    if text == "knee":
        members = front(complete, objectives)
        if not members:
            wanted = " and ".join(o.name for o in objectives)
            raise InputError(f"no complete trial has {wanted}", where=WHERE, remedy="pick a trial by its name")
        return members[knee(values_of(members, objectives), [o.direction for o in objectives])]
    if text == "fastest":
        return _least(complete, "latency_ms", objectives)
    if text == "smallest":
        return _least(complete, "params_m", objectives)
    if text != "best" and not re.search(r"[<>]", text):
        remedy = nearest(text, [*RULES, *by_name]) + " or bounds such as 'latency_ms<5'"
        raise InputError(f"no rule and no trial is called {rule!r}", where=WHERE, remedy=remedy)
    for bound in [] if text == "best" else re.split(r"\s+and\s+", text):
        complete = _within(complete, bound)
    return min(complete, key=lambda r: _order(r, objectives))


def check_rule(rule: str) -> None:
    """Refuse a rule that could choose no trial of a search that has not begun: a trial's name, or one that is no rule.

    Raises:
        InputError: it is one of these.
    """
    matches = [_BOUND.fullmatch(bound) for bound in re.split(r"\s+and\s+", rule.strip())]
    if rule.strip() in RULES or all(match and _number(match[3]) is not None for match in matches):
        return
    remedy = f"use {', '.join(RULES)}, or bounds such as 'latency_ms<5'"
    raise InputError(f"{rule!r} is no rule", where=WHERE, remedy=remedy)


def _named(record: TrialRecord) -> TrialRecord:
    if record.state in ("infeasible", "duplicate", "failed"):
        why = f" ({record.reason})" if record.reason else ""
        raise InputError(f"{record.trial} is {record.state}{why}", where=WHERE, remedy="pick a complete trial")
    return record


def _least(records: Sequence[TrialRecord], name: str, objectives: Sequence[ObjectiveLike]) -> TrialRecord:
    measured = [r for r in records if name in r.values]
    if not measured:
        raise InputError(f"the study did not measure {name}", where=WHERE, remedy="measured: " + _names(records))
    return min(measured, key=lambda r: (r.values[name], *_order(r, objectives)))


def _within(records: Sequence[TrialRecord], bound: str) -> list[TrialRecord]:
    """The records within one bound."""
    match = _BOUND.fullmatch(bound)
    number = _number(match[3]) if match else None
    if match is None or number is None:
        remedy = "write NAME<NUMBER, several joined by ' and '; NAME is one of " + _names(records)
        raise InputError(f"cannot read {bound.strip()!r}", where=WHERE, remedy=remedy)
    name, compare = match[1], _COMPARE[match[2]]
    values = [r.values[name] for r in records if name in r.values]
    if not values:
        known = sorted({n for r in records for n in r.values})
        raise InputError(f"the study did not measure {name!r}", where=WHERE, remedy=nearest(name, known))
    kept = [r for r in records if name in r.values and compare(r.values[name], number)]
    if not kept:
        there = f"{name} of the trials it is chosen from runs from {min(values):.4g} to {max(values):.4g}"
        raise InputError(f"no complete trial has {bound.strip()}", where=WHERE, remedy=there)
    return kept


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _order(record: TrialRecord, objectives: Sequence[ObjectiveLike]) -> tuple[float, ...]:
    """Costs in the order of the objectives, then the trial's number; a missing value comes last."""
    signs = [-1.0 if o.direction == "max" else 1.0 for o in objectives]
    costs = (
        s * record.values[o.name] if o.name in record.values else float("inf")
        for s, o in zip(signs, objectives, strict=True)
    )
    return (*costs, record.number)


def _names(records: Sequence[TrialRecord]) -> str:
    return ", ".join(sorted({n for r in records for n in r.values}))
