"""What the interactive page holds, read from the JSON that plotly draws."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from nasdet.analysis.plots.front_view import FrontView
from nasdet.analysis.plots.interactive_front import pareto_html


def plotted(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    start = re.search(r'Plotly\.newPlot\(\s*"[^"]+",\s*', text)
    assert start
    decoder = json.JSONDecoder()
    traces, end = decoder.raw_decode(text, start.end())
    layout, _ = decoder.raw_decode(text, re.compile(r",\s*").match(text, end).end())  # type: ignore[union-attr]
    return traces, layout


@pytest.fixture
def page(view: FrontView, tmp_path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    pareto_html(view, tmp_path / "pareto.html")
    return plotted(tmp_path / "pareto.html")


def test_traces(page: Any) -> None:
    low, dominated, front, line, volume = page[0]
    assert low["name"] == "low budget, not on the front (1)" and low["x"] == [3.0] and low["y"] == [0.4]
    assert (dominated["x"], dominated["y"]) == ([6.0], [0.25])
    assert (front["x"], front["y"]) == ([10.0, 4.0, 8.0], [0.5, 0.3, 0.2])
    assert (line["x"], line["y"]) == ([4.0, 10.0, 10.0], [0.3, 0.3, 0.5])
    assert volume["xaxis"] == "x2" and volume["x"] == [1, 2, 3, 4, 5, 6] and volume["y"] == sorted(volume["y"])


def test_cards_tell_values_architecture_and_recipe(page: Any) -> None:
    card = page[0][2]["text"][0]
    for part in ("<b>t0</b>", "12 epochs", "ap 0.5", "latency_ms 10 ms", "backbone deep3x3", "neck pan", "adamw"):
        assert part in card


def test_axes_can_be_chosen(page: Any) -> None:
    traces, layout = page
    buttons = layout["updatemenus"][0]["buttons"]
    assert [b["label"] for b in buttons] == ["ap over latency_ms", "ap over params_m", "latency_ms over params_m"]
    places, changes, which = buttons[1]["args"]
    assert which == [0, 1, 2, 3] and places["x"][2] == [2.0, 1.0, 0.5] and places["y"][2] == traces[2]["y"]
    assert changes["xaxis.title.text"] == "parameters (millions), lower is better"


def test_title_and_units(page: Any) -> None:
    layout = page[1]
    assert layout["title"]["text"] == "<b>digits-1: &lt;detnet&gt; on digits</b>"
    assert "hypervolume 12.5" in layout["title"]["subtitle"]["text"]
    assert layout["xaxis"]["title"]["text"] == "latency of one image (ms), lower is better"


def test_names_are_text_and_no_markup(summary: Any, records: Any, tmp_path: Path) -> None:
    nasty = "</title><script>alert(1)</script>"
    view = FrontView.of(dataclasses.replace(summary, study=nasty), [r.replace(trial=nasty) for r in records[:1]], [])
    pareto_html(view, tmp_path / "pareto.html")
    text = (tmp_path / "pareto.html").read_text(encoding="utf-8")
    assert nasty not in text and "<script>alert" not in text
    assert "<title>&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;: &lt;detnet&gt; on digits</title>" in text


def test_the_page_needs_no_network(view: FrontView, tmp_path: Path) -> None:
    pareto_html(view, tmp_path / "pareto.html")
    assert not re.search(r'<(script|link)[^>]+(src|href)="https?:', (tmp_path / "pareto.html").read_text())


def test_intervals_are_bars_on_whichever_axis_shows_them(summary: Any, records: Any, tmp_path: Path) -> None:
    ends = {"ap_low": 0.15, "ap_high": 0.55}
    known = [r.replace(values={**r.values, **ends}) if r.state == "complete" else r for r in records]
    pareto_html(FrontView.of(summary, known, []), tmp_path / "x.html")
    traces, layout = plotted(tmp_path / "x.html")
    front = traces[2]
    assert front["error_y"]["visible"] and not front["error_x"]["visible"] and not traces[0]["error_y"]["visible"]
    assert front["error_y"]["array"] == pytest.approx([0.05, 0.25, 0.35])
    assert front["error_y"]["arrayminus"] == pytest.approx([0.35, 0.15, 0.05])
    assert "ap 0.5 (0.15 to 0.55)" in front["text"][0] and "ap_low" not in front["text"][0]
    last = layout["updatemenus"][0]["buttons"][2]["args"][0]  # latency over parameters
    assert last["error_y.visible"] == [False, False, False, None]
