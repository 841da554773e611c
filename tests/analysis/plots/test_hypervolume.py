from __future__ import annotations

from pathlib import Path

from PIL import Image

from nasdet.analysis.plots.front import pareto_png
from nasdet.analysis.plots.front_view import FrontView
from nasdet.analysis.plots.hypervolume import curves_figure
from nasdet.analysis.plots.interactive_front import pareto_html
from tests.analysis.conftest import CURVES


def test_both_are_drawn_below_the_front(view: FrontView, tmp_path: Path) -> None:
    pareto_png(view, tmp_path / "plain.png")
    pareto_png(view, tmp_path / "both.png", CURVES)
    plain, both = (Image.open(tmp_path / f"{name}.png") for name in ("plain", "both"))
    assert both.height > 1.5 * plain.height and both.width == plain.width
    pareto_html(view, tmp_path / "x.html", CURVES)
    text = (tmp_path / "x.html").read_text()
    assert text.count("Plotly.newPlot(") >= 2 and "Against random search" in text
    assert [t.name for t in curves_figure(CURVES).data] == ["this search", "random search"] * 2
