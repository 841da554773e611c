"""Small drawings of one trial, as SVG text to put into a page: its architecture and its learning curve.

One decision: a box's height tells its width in channels, so that two architectures are compared at a glance.
"""

from __future__ import annotations

import math
from html import escape
from typing import Any

from nasdet.analysis.plots.front_view import FRONT, GRID, INK, OTHER, QUIET, Axis
from nasdet.trial import TrialRecord

GAP, BOX, TALL, MIDDLE = 14, 74, 62, 40
"""Pixels: between boxes, of a box's width and greatest height, of the line on which they stand in a row."""
FILLS = {"input": "#eef1f4", "backbone": "#d7e3ef", "neck": "#e6dff0", "head": "#f6dde0"}
WIDE = 512
"""Channels drawn at the greatest height."""


def architecture_svg(spec: dict[str, Any]) -> str:
    """The detector from left to right: input, stem, stages, neck, head."""
    boxes = list(_boxes(spec))
    width = len(boxes) * (BOX + GAP) - GAP + 2
    drawn = "".join(_box(place, *box) for place, box in enumerate(boxes))
    label = escape(f"architecture: {', '.join(f'{title} {text}' for _, title, text, _ in boxes)}")
    return (
        f'<svg class="net" viewBox="0 0 {width} {2 * MIDDLE + 4}" role="img" aria-label="{label}" '
        f'style="max-width:{width}px">{drawn}</svg>'
    )


def curve_svg(record: TrialRecord, axis: Axis) -> str:
    """The first objective at each rung; empty if there are fewer than two."""
    points = [(r.epochs, r.values[axis.name]) for r in record.rungs if axis.name in r.values]
    if len(points) < 2:
        return ""
    low, high = min(v for _, v in points), max(v for _, v in points)
    places = [
        (18 + 164 * epochs / points[-1][0], 52 - 34 * (value - low) / ((high - low) or 1)) for epochs, value in points
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{FRONT}"/>' for x, y in places)
    names = "".join(
        f'<text x="{x:.1f}" y="{y - 6:.1f}" class="s">{value:.3g}</text><text x="{x:.1f}" y="68" class="s q">{e}</text>'
        for (x, y), (e, value) in zip(places, points, strict=True)
    )
    said = escape(f"{axis.name} after " + ", ".join(f"{e} epochs {v:.3g}" for e, v in points))
    return (
        f'<svg class="curve" viewBox="0 0 210 72" role="img" aria-label="{said}">'
        f'<line x1="10" y1="57" x2="200" y2="57" stroke="{GRID}"/>'
        f'<polyline points="{line}" fill="none" stroke="{FRONT}" stroke-width="2"/>{dots}{names}</svg>'
    )


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


def _box(place: int, part: str, title: str, text: str, channels: int) -> str:
    tall = 34 + (TALL - 34) * min(1.0, math.log2(max(channels, 1)) / math.log2(WIDE))
    x, y = 1 + place * (BOX + GAP), MIDDLE - tall / 2 + 2
    arrow = f'<path d="M{x - GAP} {MIDDLE + 2}h{GAP}" stroke="{QUIET}"/>' if place else ""
    return (
        f'{arrow}<rect x="{x}" y="{y:.1f}" width="{BOX}" height="{tall:.1f}" rx="4" '
        f'fill="{FILLS[part]}" stroke="{OTHER}" stroke-opacity=".35"/>'
        f'<text x="{x + BOX / 2}" y="{MIDDLE - 2}" fill="{INK}">{escape(str(title)[:12])}</text>'
        f'<text x="{x + BOX / 2}" y="{MIDDLE + 12}" class="q">{escape(text[:14])}</text>'
    )
