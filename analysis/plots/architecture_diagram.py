"""Small drawings of one trial, as SVG to put into a page: its architecture and its learning curve.

The height of a box shows its width in channels, so that two architectures can be compared at a glance.
"""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from nasdet.analysis.plots.front_view import Axis
from nasdet.analysis.plots.style import FRONT, GRID, INK, OTHER, QUIET
from nasdet.analysis.templates import render
from nasdet.trial import TrialRecord

GAP, BOX, TALL, MIDDLE = 14, 74, 62, 40
"""Pixels: between boxes, of a box's width and greatest height, of the line on which they stand in a row."""
FILLS = {"input": "#eef1f4", "backbone": "#d7e3ef", "neck": "#e6dff0", "head": "#f6dde0"}
WIDE = 512
"""Channels drawn at the greatest height."""


def architecture_svg(spec: dict[str, Any]) -> Markup:
    """The detector from left to right: input, stem, stages, neck, head."""
    boxes = _boxes(spec)
    drawn = []
    for place, (part, title, text, channels) in enumerate(boxes):
        # 34 px for one channel up to TALL for WIDE channels, by the logarithm; boxes stand around one middle line.
        height = 34 + (TALL - 34) * min(1.0, math.log2(max(channels, 1)) / math.log2(WIDE))
        corner = {"x": 1 + place * (BOX + GAP), "y": MIDDLE - height / 2 + 2}
        drawn.append({**corner, "height": height, "fill": FILLS[part], "title": title[:12], "text": text[:14]})
    return render(
        "architecture.svg.j2",
        boxes=drawn,
        width=len(boxes) * (BOX + GAP) - GAP + 2,
        height=2 * MIDDLE + 4,
        label=f"architecture: {', '.join(f'{title} {text}' for _, title, text, _ in boxes)}",
        colours={"edge": OTHER, "arrow": QUIET, "text": INK},
        gap=GAP,
        box_width=BOX,
        middle=MIDDLE,
    )


def curve_svg(record: TrialRecord, axis: Axis) -> Markup:
    """The first objective at each rung; empty if there are fewer than two."""
    points = [(r.epochs, r.values[axis.name]) for r in record.rungs if axis.name in r.values]
    if len(points) < 2:
        return Markup()
    low, high = min(v for _, v in points), max(v for _, v in points)
    # Epochs from 0 lie between 18 and 182 px; values from the least to the greatest between 52 and 18 px from the top.
    places = [
        {"x": 18 + 164 * e / points[-1][0], "y": 52 - 34 * (v - low) / ((high - low) or 1), "epochs": e, "value": v}
        for e, v in points
    ]
    label = f"{axis.name} after " + ", ".join(f"{e} epochs {v:.3g}" for e, v in points)
    return render("curve.svg.j2", points=places, label=label, colour=FRONT, grid=GRID)


def _boxes(spec: dict[str, Any]) -> list[tuple[str, str, str, int]]:
    """(part, title, text, channels) of each box."""
    image, body, neck, head = spec["input"], spec["backbone"], spec["neck"], spec["head"]
    boxes = [("input", "input", f"{image['height']}×{image['width']}×{image['channels']}", image["channels"])]
    if body["kind"] == "staged":
        boxes.append(("backbone", body["stem"], f"{body['stem_width']}", body["stem_width"]))
        for stage in body["stages"]:
            rate = f", d{stage['dilation']}" if stage["dilation"] > 1 else ""
            boxes.append(
                (
                    "backbone",
                    body["block"],
                    f"{stage['depth']}×{stage['width']} /{stage['stride']}{rate}",
                    stage["width"],
                )
            )
    else:
        boxes.append(("backbone", body["kind"], str(body.get("depth") or body.get("name") or "backbone"), 256))
    boxes.append(
        ("neck", neck["kind"], f"{neck.get('width', '')} ×{neck.get('depth', 1)}".strip(), neck.get("width", 128))
    )
    return [*boxes, ("head", head["kind"], f"{head.get('width', '')} ×{head.get('depth', 1)}", head.get("width", 128))]
