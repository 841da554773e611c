from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from nasdet.analysis.plots.detection_errors import COLOURS, errors_png
from nasdet.analysis.tide import CORRECT, MISSED, error_report
from nasdet.analysis.worst_images import PER_SHEET, draw_worst, worst_images
from nasdet.data import Dataset, open_data
from nasdet.evaluation import Predictions


def colours_of(path: Path) -> set[tuple[int, ...]]:
    colours = Image.open(path).convert("RGB").getcolors(1 << 24) or []
    return {tuple(c) if isinstance(c, tuple) else (c,) for n, c in colours if n > 20}


def rgb(name: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(COLOURS[name][1:]))


def test_the_worst_come_first_and_are_drawn(few_digits: Dataset, found_digits: Predictions) -> None:
    dataset, found = few_digits, found_digits
    report, outcomes = error_report(dataset.coco("val"), found)
    score = report["working_score"]
    worst = worst_images(dataset, "val", found, outcomes, score)
    assert len(worst) == 2 * PER_SHEET
    assert [row["f1"] for row in worst] == sorted(row["f1"] for row in worst)
    assert all(row["false"] + row["missed"] > 0 for row in worst)
    sheets = draw_worst(dataset, "val", worst, found, outcomes, score, Path())
    assert [sheet.name for sheet in sheets] == ["worst-1.png", "worst-2.png"]
    assert {rgb(MISSED), rgb("background")} <= colours_of(sheets[0])
    errors_png(report, "digits", Path("errors.png"))
    assert {rgb(row["type"]) for row in report["types"] if row["ap50_cost"] > 0.01} <= colours_of(Path("errors.png"))


def test_counts_are_those_of_the_image() -> None:
    """One of two objects found, and one box on nothing; an image in which all is right is not among the worst."""
    dataset = open_data("digits")
    records = [r for r in dataset.images("val") if len(r.boxes) >= 2][:2]
    rows = [(records[0].id, *records[0].boxes[0], 0.9, records[0].labels[0]), (records[0].id, 0, 0, 3, 3, 0.8, 1)]
    rows += [(records[1].id, *b, 0.9, label) for b, label in zip(records[1].boxes, records[1].labels, strict=True)]
    t = np.array(rows, float)
    found = Predictions(t[:, 0].astype(np.int64), t[:, 1:5], t[:, 5], t[:, 6].astype(np.int64))
    _, outcomes = error_report(dataset.coco("val"), found)
    worst = {row["image_id"]: row for row in worst_images(dataset, "val", found, outcomes, 0.5, most=1000)}
    left = len(records[0].boxes) - 1
    row = worst[records[0].id]
    assert (row["correct"], row["false"], row["missed"], row["f1"]) == (1, 1, left, 2 / (3 + left))
    assert records[1].id not in worst
    (sheet,) = draw_worst(dataset, "val", [row], found, outcomes, 0.5, Path())
    assert {rgb(CORRECT), rgb(MISSED), rgb("background")} <= colours_of(sheet)
