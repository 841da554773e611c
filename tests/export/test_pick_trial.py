"""Rules of `--pick`, and what they say when nothing fits."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import pytest

from nasdet.errors import InputError
from nasdet.export import pick
from nasdet.trial import TrialRecord


class Objective(NamedTuple):
    name: str
    direction: Literal["max", "min"]


OBJECTIVES = (Objective("ap", "max"), Objective("latency_ms", "min"))


def record(number: int, state: Any, ap: float, latency: float, params: float, **more: Any) -> TrialRecord:
    values = {"ap": ap, "latency_ms": latency, "params_m": params}
    return TrialRecord(f"t{number}", number, state, {}, spec={}, recipe={}, values=values, **more)


RECORDS = [
    record(0, "complete", 0.50, 10.0, 3.0),
    record(1, "complete", 0.48, 5.0, 2.0),
    record(2, "complete", 0.10, 4.0, 1.0),
    record(3, "stopped", 0.90, 1.0, 0.1),
    record(4, "failed", 0.0, 0.0, 0.0, reason="out of memory"),
    record(5, "complete", 0.50, 10.0, 2.5),
    record(6, "complete", 0.48, 5.5, 2.0),
]


@pytest.mark.parametrize(
    ("rule", "trial"),
    [
        ("best", "t0"),  # t5 is equal in every objective: the earlier one
        ("knee", "t1"),
        ("fastest", "t2"),
        ("smallest", "t2"),
        ("t3", "t3"),  # by name also what was stopped early
        (" t5 ", "t5"),
        ("latency_ms<10", "t1"),
        ("latency_ms <= 1e1 and params_m<3", "t5"),
        ("ap>0.2 and latency_ms>=5.5 and params_m<=2", "t6"),
    ],
)
def test_rules(rule: str, trial: str) -> None:
    assert pick(RECORDS, OBJECTIVES, rule).trial == trial


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("kne", "no rule and no trial is called 'kne'; did you mean 'knee'?"),
        ("t4", "t4 is failed (out of memory); pick a complete trial"),
        (
            "latency_ms<1",
            "no complete trial has latency_ms<1; latency_ms of the trials it is chosen from runs from 4 to 10",
        ),
        (
            "latency_ms<6 and ap>0.9",
            "no complete trial has ap>0.9; ap of the trials it is chosen from runs from 0.1 to 0.48",
        ),
        ("latency<5", "the study did not measure 'latency'; did you mean 'latency_ms'?"),
        ("latency_ms<fast", "cannot read 'latency_ms<fast'; write NAME<NUMBER"),
        ("latency_ms<1e", "cannot read 'latency_ms<1e'"),
        ("5>latency_ms", "cannot read '5>latency_ms'"),
    ],
)
def test_what_cannot_be_picked_is_one_line(rule: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        pick(RECORDS, OBJECTIVES, rule)
    assert str(error.value).startswith("--pick: ") and message in str(error.value)


def test_of_equally_fast_trials_the_more_accurate_one() -> None:
    equal = [record(0, "complete", 0.4, 5.0, 2.0), record(1, "complete", 0.5, 5.0, 2.0)]
    assert [pick(equal, OBJECTIVES, rule).trial for rule in ("fastest", "smallest")] == ["t1", "t1"]


def test_a_study_without_complete_trials() -> None:
    with pytest.raises(InputError, match="no trial has been trained at the full budget"):
        pick(RECORDS[3:5], OBJECTIVES, "best")


def test_a_cost_that_was_not_measured() -> None:
    bare = [r.replace(values={"ap": 0.1, "latency_ms": 1.0}) for r in RECORDS]
    with pytest.raises(InputError, match="the study did not measure params_m; measured: ap, latency_ms"):
        pick(bare, OBJECTIVES, "smallest")
