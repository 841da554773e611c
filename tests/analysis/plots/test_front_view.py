"""What the pictures show."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from nasdet.analysis.plots.front_view import Axis, FrontView, architecture, staircase, training
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.presets import SYSTEMS
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.trial import TrialRecord


def test_records_are_sorted_by_what_they_are(view: FrontView) -> None:
    assert [r.trial for r in view.front] == ["t0", "t1", "t5"]
    assert [r.trial for r in view.dominated] == ["t2"]
    assert [r.trial for r in view.low_budget] == ["t3"]
    assert "12 epochs" in view.subtitle and "1 failed" in view.subtitle and "seed 3" in view.subtitle


def test_pairs_put_what_is_maximised_upright(view: FrontView) -> None:
    names = [(x.name, y.name) for x, y in view.pairs()]
    assert names == [("latency_ms", "ap"), ("params_m", "ap"), ("params_m", "latency_ms")]


def test_one_objective_is_shown_over_the_trials(summary: Any, records: Any) -> None:
    one = dataclasses.replace(summary, objectives=summary.objectives[:1])
    view = FrontView.of(one, records, [])
    assert [(x.name, y.name) for x, y in view.pairs()] == [("number", "ap")]
    assert [r.trial for r in view.front] == ["t0"]


def test_marked_members(view: FrontView) -> None:
    x, y = view.pairs()[0]
    assert view.marked(x, y) == {"t0": "t0: best AP", "t1": "t1: fastest, knee"}


@pytest.mark.parametrize(
    ("x", "y", "corners"),
    [
        ("min", "max", [(1, 1), (2, 1), (2, 3), (3, 3), (3, 4)]),
        ("max", "max", [(5, 2), (3, 2), (3, 4)]),
        ("min", "min", [(1, 1)]),
    ],
)
def test_staircase_never_passes_what_is_not_dominated(x: Any, y: Any, corners: list[tuple[float, float]]) -> None:
    points = [(1, 1), (2, 3), (3, 4), (3, 2), (5, 2)]
    records = [TrialRecord(f"t{i}", i, "complete", {}, values={"a": a, "b": b}) for i, (a, b) in enumerate(points)]
    xs, ys = staircase(records, Axis("a", x), Axis("b", y))
    assert list(zip(xs, ys, strict=True)) == corners


def test_card_texts() -> None:
    stages = (StageSpec(width=32, depth=2), StageSpec(width=64, stride=1, dilation=2))
    spec = DetectorSpec(backbone=StagedSpec(stages=stages))
    record = TrialRecord("t", 0, "complete", {"a": 1}, spec=spec.to_json(), recipe=Recipe().to_json())
    text = "\n".join(architecture(record) + training(record))
    assert "basic blocks 2x32/2, 1x64/1 dilation 2" in text and "batch 16" in text and "input 96x96x3, gn" in text
    assert architecture(record.replace(spec=None)) == ["a = 1"] and training(record.replace(recipe=None)) == []


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_has_a_card(name: str) -> None:
    spec = SYSTEMS[name].spec
    lines = architecture(TrialRecord("t", 0, "complete", {}, spec=spec.to_json()))
    kinds = (
        spec.backbone.kind if spec.backbone.kind != "staged" else spec.backbone.stem,
        spec.neck.kind,
        spec.head.kind,
    )
    assert [line.split()[1] for line in lines[1:]] == list(kinds)
    assert all(len(line) < 200 for line in lines)
