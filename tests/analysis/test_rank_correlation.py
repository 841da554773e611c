"""Rank correlation of scores and sizes with what training made of the candidates."""

from __future__ import annotations

import pytest

from nasdet.analysis.rank_correlation import score_correlation
from nasdet.space.space import Objective
from nasdet.trial import TrialRecord

OBJECTIVES = [Objective("ap", "max"), Objective("params_m", "min")]


def records(count: int, state: str = "complete") -> list[TrialRecord]:
    values = [{"ap": i / 10, "params_m": float(-i), "gflops": 1.0, "score_entropy": float(i)} for i in range(count)]
    return [TrialRecord(f"t{i}", i, state, {}, values=v) for i, v in enumerate(values)]  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasdet.analysis.rank_correlation.RESAMPLES", 200)


def test_orders_are_compared_with_plain_size_beside() -> None:
    found = score_correlation(records(6), OBJECTIVES)
    assert found is not None and (found["objective"], found["trials"]) == ("ap", 6)
    taus = {p["name"]: p["tau"] for p in found["predictors"]}
    assert taus == pytest.approx({"score_entropy": 1.0, "params_m": -1.0, "gflops": 0.0})
    assert found["predictors"][0]["high"] == pytest.approx(1.0)


def test_too_few_or_low_budget_or_unscored_candidates_tell_nothing() -> None:
    assert score_correlation(records(3), OBJECTIVES) is None
    assert score_correlation(records(9, "stopped"), OBJECTIVES) is None
    bare = [r.replace(values={"ap": 1.0, "params_m": 1.0, "gflops": 1.0}) for r in records(9)]
    assert score_correlation(bare, OBJECTIVES) is None
