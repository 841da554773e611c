"""The still picture is drawn, without pyplot."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from PIL import Image

from nasdet.analysis.plots.front import _scatter, draw_front, pareto_png
from nasdet.analysis.plots.front_view import FrontView
from nasdet.analysis.plots.style import FRONT
from nasdet.study_summary import TrialCounts


def test_both_files_are_left_in_the_folder(summary: Any, records: Any, view: FrontView, tmp_path: Path) -> None:
    before = "matplotlib.pyplot" in sys.modules
    draw_front(summary, records, view.history, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"pareto.png", "pareto.html"}
    image = np.asarray(Image.open(tmp_path / "pareto.png").convert("RGB"))
    assert image.shape[0] >= 800 and image.shape[1] >= 1500
    colour = [int(FRONT[i : i + 2], 16) for i in (1, 3, 5)]
    assert (image == colour).all(axis=2).sum() > 300
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_a_study_without_results_can_be_drawn(summary: Any, tmp_path: Path) -> None:
    empty = dataclasses.replace(summary, trials=TrialCounts(0), front=(), hypervolume=0.0)
    draw_front(empty, [], [], tmp_path)
    assert (tmp_path / "pareto.png").stat().st_size > 5000


def test_a_crowded_front_can_be_drawn(summary: Any, records: Any, tmp_path: Path) -> None:
    many = [records[0].replace(trial=f"t{i}", number=i) for i in range(300)]
    pareto_png(FrontView.of(summary, many, []), tmp_path / "new" / "x.png")
    assert (tmp_path / "new" / "x.png").exists()


@pytest.mark.parametrize(("ends", "bars"), [({}, 0), ({"ap_low": 0.1, "ap_high": 0.6}, 2)])
def test_intervals_are_drawn_as_bars(summary: Any, records: Any, ends: dict[str, float], bars: int) -> None:
    known = [r.replace(values={**r.values, **ends}) if r.state == "complete" else r for r in records]
    view, axes = FrontView.of(summary, known, []), Figure().subplots()
    _scatter(axes, view, *view.pairs()[0])
    found = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
    assert len(found) == bars  # of the front and of the dominated ones
    assert all(bar.has_yerr for bar in found)
