from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nasdet.analysis.hypervolume_curves import Curve, compared, curves_figure, hypervolume_curve, study_curves
from nasdet.analysis.plots.front import draw_front
from nasdet.analysis.plots.front_view import FrontView
from nasdet.analysis.plots.interactive_front import pareto_html
from nasdet.search import Engine, StudyStore
from nasdet.search.records.baseline import create_baseline, spent_epochs
from nasdet.trial import Rung, TrialRecord
from tests.search.conftest import build, toy, work

CURVES = (
    Curve("this search", (0.0, 9.0, 12.0), (0.0, 1.0, 1.5), (0.0, 2.0, 2.0)),
    Curve("random search", (0.0, 9.0), (0.0, 1.0), (0.0, 1.0)),
)


def trial(number: int, state: Any, rungs: list[tuple[int, float, int]], seconds: float) -> TrialRecord:
    """Rungs are (epochs, ap, told)."""
    reached = tuple(Rung(e, {"ap": ap, "latency_ms": 10.0, "params_m": 5.0}, told) for e, ap, told in rungs)
    last = reached[-1]
    return TrialRecord(
        f"t{number}", number, state, {}, {}, {}, last.values, last.epochs, reached, train_seconds=seconds
    )


def test_what_was_spent_until_a_candidate_was_complete(axes: Any, reference: Any) -> None:
    records = [
        trial(0, "complete", [(3, 0.2, 0), (9, 0.5, 3)], 90.0),
        trial(1, "stopped", [(3, 0.9, 1)], 60.0),  # never trained in full: no hypervolume, but spent
        trial(2, "complete", [(3, 0.3, 2), (9, 0.6, 4)], 180.0),
    ]
    curve = hypervolume_curve("s", records, axes, reference, concurrent=2)
    assert curve.epochs == (0, 15, 21, 21)
    assert curve.minutes == pytest.approx((0, (90 + 60 + 60) / 120, 330 / 120, 330 / 120))
    assert curve.hypervolume == pytest.approx((0, 0.5 * 10 * 5, 0.6 * 10 * 5, 0.6 * 10 * 5))


def test_curves_of_a_study_and_its_baseline_end_where_they_ended(tmp_path: Path) -> None:
    store = StudyStore.create(tmp_path / "s", {"study": "s", "data": "none"}, toy())
    engine = Engine(store, build)
    work(engine, 30)
    engine.close()
    assert study_curves(store) == ()
    baseline = create_baseline(store, "")
    work(Engine(baseline, build))
    ours, random = study_curves(store)
    assert (ours.epochs[-1], random.epochs[-1]) == (spent_epochs(store), spent_epochs(baseline))
    assert ours.hypervolume[-1] == pytest.approx(store.summary()["hypervolume"])
    assert random.hypervolume[-1] == pytest.approx(baseline.summary()["hypervolume"])
    assert list(ours.hypervolume) == sorted(ours.hypervolume)


def test_both_are_drawn_below_the_front(summary: Any, records: Any, view: FrontView, tmp_path: Path) -> None:
    draw_front(summary, records, view.history, tmp_path / "plain")
    draw_front(summary, records, view.history, tmp_path / "both", CURVES)
    plain, both = (Image.open(tmp_path / name / "pareto.png") for name in ("plain", "both"))
    assert both.height > 1.5 * plain.height and both.width == plain.width
    pareto_html(view, tmp_path / "x.html", CURVES)
    text = (tmp_path / "x.html").read_text()
    assert text.count("Plotly.newPlot(") >= 2 and "Against random search" in text
    assert [t.name for t in curves_figure(CURVES).data] == ["this search", "random search"] * 2


def test_the_comparison_in_a_sentence() -> None:
    assert compared(CURVES) == (
        "Random search reaches 1 in 9 epochs, this search 2 in 12; it was past random search's end after 9."
    )
    assert compared(CURVES[::-1]) == "Random search reaches 2 in 12 epochs, this search 1 in 9."
    assert CURVES[1].points()[1] == ("random search", 9.0, 1.0, 1.0)
