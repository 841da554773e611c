"""`Study` on a stored study: picking, drawing and exporting; its tables are tested with the analysis."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

import nasdet
from nasdet.search import StudyStore
from tests.cli.conftest import stored  # noqa: F401


@pytest.fixture
def study(stored: StudyStore) -> nasdet.Study:  # noqa: F811
    return nasdet.load_study(stored.dir)


def test_trials_are_picked(study: nasdet.Study) -> None:
    assert (
        study.best.trial == "t0"
        and study.pick("fastest").trial == "t1"
        and study.pick().trial in study.front.trial.values
    )
    assert study.trial("t2") == study.records[2] and study.pick("latency_ms<7").trial == "t1"
    with pytest.raises(nasdet.InputError, match="no trial 't9'; known: t0, t1, t2"):
        study.trial("t9")


def test_a_trial_becomes_a_detector(study: nasdet.Study, tmp_path: Path) -> None:
    detector = study.export(study.best, tmp_path / "best")
    assert detector.path == tmp_path / "best" and detector.metrics["ap"] == 0.5 and detector.card["trial"] == "t0"
    assert detector.spec.to_json() == study.best.spec
    with pytest.raises(nasdet.InputError, match="holds a bundle already"):
        study.export("best", tmp_path / "best")
    with pytest.raises(nasdet.InputError, match="the weights of t1 were not kept"):
        study.export("fastest", tmp_path / "fast")


def test_the_front_is_drawn(study: nasdet.Study) -> None:
    figure = study.plot()
    assert isinstance(figure, Figure) and figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    study.plot("pictures/front.png")
    study.plot("pictures/front.html")
    assert Path("pictures/front.png").stat().st_size > 10_000 and "plotly" in Path("pictures/front.html").read_text()
    with pytest.raises(nasdet.InputError, match="name a file that ends in"):
        study.plot("front.xyz")


def test_nothing_to_draw(stored: StudyStore) -> None:  # noqa: F811
    stored.save_config(reference_point=None)
    with pytest.raises(nasdet.InputError, match="nothing to draw"):
        nasdet.load_study(stored.dir).plot()
