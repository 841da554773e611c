"""The images with the worst F1, drawn: labels on the left, predictions on the right, in the colours of the error types.
Only errors have their names, because in a crowded image nothing else could be read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from nasdet.analysis.plots.detection_errors import COLOURS
from nasdet.analysis.plots.style import INK, QUIET
from nasdet.analysis.tide import CORRECT, FALSE, MISSED, TYPES, Outcomes
from nasdet.data import Dataset, ImageRecord, fit_image, read_image
from nasdet.data.cache import with_channels
from nasdet.data.contact_sheet import draw_caption, to_rgb
from nasdet.evaluation import Predictions

TILE, GAP, MARGIN, CAPTION, HEADER = 360, 8, 20, 24, 72
ROWS, COLUMNS = 3, 2
PER_SHEET = ROWS * COLUMNS
PAPER, FRAME = "#fafafa", "#ececec"
Box = tuple[Sequence[float], str, str]
"""Corners in pixels of the image, colour, text."""


def worst_images(
    dataset: Dataset, split: str, found: Predictions, outcomes: Outcomes, score: float, *, most: int = 2 * PER_SHEET
) -> list[dict[str, Any]]:
    """The images that have errors, lowest F1 at `score` first; of equal F1, the one with more errors first.

    Returns:
        `file`, `image_id`, `f1`, `correct`, `false` and `missed` of each image, of at most `most` images.
    """
    kept, owners = found.scores >= score, np.array([a["image_id"] for a in outcomes.objects])
    rows: list[dict[str, Any]] = []
    for record in dataset.images(split):
        kinds = outcomes.kind[kept & (found.image_ids == record.id)]
        correct, false = int((kinds == CORRECT).sum()), int(np.isin(kinds, FALSE).sum())
        missed = int((outcomes.found_with[owners == record.id] < score).sum())
        if false or missed:
            f1 = 2 * correct / (2 * correct + false + missed)
            counts = {"f1": f1, "correct": correct, "false": false, "missed": missed}
            rows.append({"file": record.path.name, "image_id": record.id, **counts})
    return sorted(rows, key=lambda row: (row["f1"], -row["false"] - row["missed"]))[:most]


def draw_worst(
    dataset: Dataset,
    split: str,
    worst: list[dict[str, Any]],
    found: Predictions,
    outcomes: Outcomes,
    score: float,
    folder: Path,
) -> list[Path]:
    """Write `worst-1.png`, ... with six images each; returns the files."""
    records = {record.id: record for record in dataset.images(split)}
    paths = []
    for number, first in enumerate(range(0, len(worst), PER_SHEET), start=1):
        rows = worst[first : first + PER_SHEET]
        tiles = [_pair(records[row["image_id"]], row, dataset, found, outcomes, score) for row in rows]
        span = (
            f"worst images {first + 1} to {first + len(rows)} of {split}, boxes with a score of {score:.2f} and above"
        )
        paths.append(folder / f"worst-{number}.png")
        _sheet(tiles, f"{dataset.info.name}: {span}").save(paths[-1])
    return paths


def _pair(
    record: ImageRecord, row: dict[str, Any], dataset: Dataset, found: Predictions, outcomes: Outcomes, score: float
) -> Image.Image:
    """One image twice, with its labels and with its predictions, and a caption."""
    channels, classes = dataset.info.channels, dataset.info.classes
    pixels = with_channels(read_image(record.path, alpha=channels == 4), channels, str(record.path))
    tall = round(TILE / min(max(dataset.info.aspect, 0.6), 1.6))
    fitted, scale = fit_image(pixels, tall, TILE)
    pair = Image.new("RGB", (2 * TILE + GAP, tall + CAPTION), PAPER)
    drawn = (_labels(record.id, outcomes, classes, score), _predictions(record.id, found, outcomes, classes, score))
    for side, boxes in enumerate(drawn):
        picture = to_rgb(fitted)
        _draw(picture, boxes, scale)
        left = side * (TILE + GAP)
        ImageDraw.Draw(pair).rectangle((left, 0, left + TILE - 1, tall - 1), fill=FRAME)
        pair.paste(picture, (left + (TILE - picture.width) // 2, (tall - picture.height) // 2))
    text = f"F1 {row['f1']:.2f}: {row['correct']} right, {row['false']} false, {row['missed']} missed"
    pen = ImageDraw.Draw(pair)
    pen.text((0, tall + 3), _shortened(row["file"], 44), QUIET, font=_font(13))
    pen.text((TILE + GAP, tall + 3), text, INK, font=_font(13))
    return pair


def _labels(image: int, outcomes: Outcomes, classes: Sequence[str], score: float) -> list[Box]:
    boxes: list[Box] = []
    for row, annotation in enumerate(outcomes.objects):
        if annotation["image_id"] == image:
            x, y, w, h = annotation["bbox"]
            kind = CORRECT if outcomes.found_with[row] >= score else MISSED
            name = classes[annotation["category_id"] - 1]
            boxes.append(((x, y, x + w, y + h), COLOURS[kind], name if kind == MISSED else ""))
    return sorted(boxes, key=lambda box: box[2] != "")


def _predictions(image: int, found: Predictions, outcomes: Outcomes, classes: Sequence[str], score: float) -> list[Box]:
    chosen = np.flatnonzero((found.image_ids == image) & (found.scores >= score))
    boxes: list[Box] = []
    for i in sorted(chosen, key=lambda i: (outcomes.kind[i] != CORRECT, found.scores[i])):
        kind = str(outcomes.kind[i])
        text = "" if kind == CORRECT else f"{classes[found.labels[i]]} {found.scores[i]:.2f}"
        boxes.append((found.boxes[i].tolist(), COLOURS.get(kind, QUIET), text))
    return boxes


def _draw(picture: Image.Image, boxes: Sequence[Box], scale: float) -> None:
    pen = ImageDraw.Draw(picture)
    for corners, name, text in boxes:
        red, green, blue = ImageColor.getrgb(name)[:3]
        x1, y1, x2, y2 = (float(v) * scale for v in corners)
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=name, width=2)
        if text:
            draw_caption(pen, x1, y1, text, (red, green, blue), picture.width, size=11)


def _sheet(tiles: list[Image.Image], title: str) -> Image.Image:
    columns = min(COLUMNS, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    wide, tall = tiles[0].size
    size = (2 * MARGIN + columns * (wide + 2 * MARGIN) - 2 * MARGIN, HEADER + rows * (tall + GAP) + MARGIN)
    sheet = Image.new("RGB", (max(size[0], 2 * MARGIN + 840), size[1]), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 12), title, INK, font=_font(18))
    x = float(MARGIN)
    for text, kinds in (("left, labels:", (CORRECT, MISSED)), ("right, predictions:", (CORRECT, *TYPES[:-1]))):
        pen.text((x, 42), text, QUIET, font=_font(13))
        x += _font(13).getlength(text) + 10
        for kind in kinds:
            name = "found" if text.startswith("left") and kind == CORRECT else kind
            pen.rectangle((x, 44, x + 12, 56), fill=COLOURS[kind])
            pen.text((x + 17, 42), name, INK, font=_font(13))
            x += 17 + _font(13).getlength(name) + 14
        x += 14
    for number, tile in enumerate(tiles):
        place = (MARGIN + number % columns * (wide + 2 * MARGIN), HEADER + number // columns * (tall + GAP))
        sheet.paste(tile, place)
    return sheet


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _shortened(name: str, most: int) -> str:
    return name if len(name) <= most else f"...{name[-most + 3 :]}"
