from __future__ import annotations

import dataclasses
import json

import pytest

from nasdet.space import Objective, parse_space
from nasdet.study_config import StudyConfig
from nasdet.study_summary import (
    BaselineFigures,
    Failure,
    IndistinctPair,
    Moments,
    RepeatedTrainings,
    Summary,
    TrialCounts,
)
from nasdet.trial import NOT_TRAINED, TRAINED, Rung, TrialRecord

SPACE = {
    "name": "toy",
    "space": {"x": {"kind": "float", "low": 0.0, "high": 1.0}},
    "objectives": [{"name": "ap", "direction": "max"}, {"name": "size", "direction": "min"}],
    "budget": {"trials": 4, "epochs": 9, "seed": 3},
}
PUBLIC = {
    "study": str, "space": str, "data": str, "seed": int, "wall_seconds": float, "objectives": list, "trials": dict,
    "reference_point": list, "hypervolume": float, "front": list, "overhead_seconds_per_trial": float, "skipped": int,
    "last_failure": dict, "indistinct": list, "folder": str, "tracking_uri": str,
}  # fmt: skip
"""Keys of `nasdet search --json`, in their order; `baseline` before `folder` where there is one."""
COUNTS = ["total", "complete", "stopped", "failed", "paused", "running", "infeasible", "duplicate"]
MEMBER = ["trial", "values", "params", "spec", "recipe", "mlflow_run_id"]


@pytest.fixture
def summary() -> Summary:
    records = [
        TrialRecord("t0", 0, "complete", {"x": 0.1}, {}, {}, {"ap": 0.5, "size": 4.0}, 9, (Rung(9, {}),)),
        TrialRecord(
            "t1", 1, "complete", {"x": 0.2}, None, None, {"ap": 0.3, "size": 2.0}, 9, (Rung(3, {}), Rung(9, {}))
        ),
        TrialRecord("t2", 2, "complete", {"x": 0.3}, None, None, {"ap": 0.2, "size": 3.0}, 9),
        TrialRecord("t3", 3, "failed", {"x": 0.4}, reason="out of memory"),
        TrialRecord("t4", 4, "infeasible", {"x": 0.5}),
    ]
    records = [r.replace(overhead_seconds=2.0) for r in records]
    config = StudyConfig(study="s", data="f", reference_point=(0.0, 10.0), wall_seconds=5.0, skipped=2)
    return Summary.of(records, parse_space(SPACE, function=True), config)


def full(summary: Summary) -> Summary:
    """With everything that may be there."""
    repeats = RepeatedTrainings((1, 2), {"ap": Moments(0.4, None), "ap50": Moments(0.6, 0.1)})
    first, *others = summary.front
    return dataclasses.replace(
        summary,
        front=(dataclasses.replace(first, repeats=repeats, mlflow_run_id="abc"), *others),
        indistinct=(IndistinctPair(("t0", "t1"), "ap", 0.7),),
        baseline=BaselineFigures("random", "s-random", "/s/random", 1.0, 2.0, TrialCounts(3, complete=3), 27, 30),
        folder="/s",
        tracking_uri="sqlite:///x.db",
    )


def test_the_public_json_key_for_key(summary: Summary) -> None:
    public = summary.to_json()
    assert list(public) == list(PUBLIC)
    assert {key: type(value) for key, value in public.items()} == PUBLIC
    assert list(public["trials"]) == COUNTS and [list(member) for member in public["front"]] == [MEMBER, MEMBER]
    assert public["objectives"] == [{"name": "ap", "direction": "max"}, {"name": "size", "direction": "min"}]
    assert public["last_failure"] == {"trial": "t3", "reason": "out of memory"}
    with_all = full(summary).to_json()
    assert list(with_all) == [k for key in PUBLIC for k in (["baseline", key] if key == "folder" else [key])]
    assert list(with_all["baseline"]) == [
        "sampler", "study", "folder", "hypervolume", "wall_seconds", "trials", "epochs", "search_epochs",
    ]  # fmt: skip
    assert list(with_all["baseline"]["trials"]) == COUNTS
    assert [list(member) for member in with_all["front"]] == [[*MEMBER, "repeats"], MEMBER]
    moments = {"ap": {"mean": 0.4, "std": None}, "ap50": {"mean": 0.6, "std": 0.1}}
    assert with_all["front"][0]["repeats"] == {"seeds": [1, 2], **moments}
    assert with_all["indistinct"] == [{"trials": ["t0", "t1"], "objective": "ap", "chance": 0.7}]
    assert json.loads(json.dumps(with_all)) == with_all


def test_what_is_computed_from_the_records(summary: Summary) -> None:
    assert [m.trial for m in summary.front] == ["t0", "t1"]
    assert summary.trials == TrialCounts(total=4, complete=3, failed=1, infeasible=1)
    assert summary.hypervolume == pytest.approx(0.5 * 6 + 0.3 * 2)
    assert summary.overhead_seconds_per_trial == 1.5  # 2 s of one job, 1 s for each of two
    assert summary.objectives == (Objective("ap", "max"), Objective("size", "min")) and summary.seed == 3
    assert summary.last_failure == Failure("t3", "out of memory")


def test_it_comes_back_from_json(summary: Summary) -> None:
    for value in (summary, full(summary)):
        assert Summary.from_json(json.loads(json.dumps(value.to_json()))) == value


def test_every_state_is_counted_once() -> None:
    counts = TrialCounts.of([TrialRecord(s, i, s, {}) for i, s in enumerate((*TRAINED, *NOT_TRAINED))])
    assert counts.total == len(TRAINED) and set(counts.by_state().values()) == {1}
    assert list(counts.by_state()) == [*TRAINED, *NOT_TRAINED] == COUNTS[1:]
