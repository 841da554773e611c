"""The drawings are well-formed and say what they show."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from nasdet.analysis.plots.architecture_diagram import architecture_svg, curve_svg
from nasdet.analysis.plots.front_view import Axis
from nasdet.space.presets import SYSTEMS
from nasdet.space.specs import DetectorSpec
from nasdet.trial import Rung, TrialRecord


def test_stages_and_parts_are_named() -> None:
    spec = DetectorSpec().to_json()
    text = "".join(ElementTree.fromstring(architecture_svg(spec)).itertext())
    for part in ("96×96×3", spec["backbone"]["block"], spec["neck"]["kind"], spec["head"]["kind"]):
        assert part in text


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_kind_of_detector_is_drawn(name: str) -> None:
    assert ElementTree.fromstring(architecture_svg(SYSTEMS[name].spec.to_json())).get("role") == "img"


def test_names_are_text_and_no_markup() -> None:
    record = TrialRecord("t0", 0, "complete", {}, rungs=tuple(Rung(e, {"<script>": 0.1 * e}) for e in (1, 2)))
    drawn = ElementTree.fromstring(curve_svg(record, Axis("<script>", "max")))
    assert str(drawn.get("aria-label")).startswith("<script> after 1 epochs")


def test_curve() -> None:
    rungs = tuple(Rung(e, {"ap": ap}) for e, ap in ((2, 0.1), (4, 0.4), (8, 0.7)))
    record = TrialRecord("t0", 0, "complete", {}, rungs=rungs)
    drawn = ElementTree.fromstring(curve_svg(record, Axis("ap", "max")))
    assert drawn.get("aria-label") == "ap after 2 epochs 0.1, 4 epochs 0.4, 8 epochs 0.7"
    assert curve_svg(record.replace(rungs=rungs[:1]), Axis("ap", "max")) == ""
