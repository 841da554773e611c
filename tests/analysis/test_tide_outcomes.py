from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from benchmarks.eval_speed import scene
from nasdet.analysis.tide import error_report
from nasdet.analysis.tide_outcomes import CORRECT, FALSE, IGNORED, MISSED
from nasdet.evaluation import Predictions

IMAGE = {"id": 7, "width": 100, "height": 100, "file_name": "7.png"}
NAMES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def truth(*objects: tuple[int, list[float]], crowd: bool = False) -> dict[str, Any]:
    annotations = [
        {"id": i, "image_id": 7, "category_id": c, "bbox": box, "area": box[2] * box[3], "iscrowd": int(crowd)}
        for i, (c, box) in enumerate(objects, start=11)
    ]
    return {"images": [IMAGE], "annotations": annotations, "categories": NAMES}


def found(*rows: tuple[int, list[float]]) -> Predictions:
    """Boxes xywh of falling scores."""
    xywh = np.array([box for _, box in rows], float)
    boxes = np.column_stack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])
    count = len(rows)
    labels = np.array([label for label, _ in rows])
    return Predictions(np.full(count, 7), boxes, np.linspace(0.9, 0.5, count), labels)


def test_every_type_is_named() -> None:
    labelled = truth((1, [0, 0, 20, 20]), (1, [50, 50, 20, 20]), (2, [0, 60, 20, 20]), (2, [80, 0, 20, 20]))
    rows = [
        (0, [0.0, 0, 20, 20]),  # right
        (0, [1.0, 0, 20, 20]),  # the same once more
        (0, [55.0, 58, 20, 20]),  # right class, IoU 0.29
        (0, [0.0, 60, 20, 20]),  # a dog
        (0, [8.0, 64, 20, 20]),  # a dog with IoU 0.32
        (1, [40.0, 20, 5, 5]),  # nothing
    ]
    _, outcomes = error_report(labelled, found(*rows))
    wanted = [CORRECT, "duplicate", "localisation", "classification", "both", "background"]
    assert outcomes.kind.tolist() == wanted
    assert outcomes.nearest.tolist() == [0, 0, 1, 2, 2, -1]
    assert outcomes.found_with.tolist() == [0.9, -1, -1, -1]


def test_a_crowd_is_neither_found_nor_missed() -> None:
    both = truth((1, [0, 0, 20, 20]))
    both["annotations"] += truth((1, [50, 50, 40, 40]), crowd=True)["annotations"][:1]
    both["annotations"][1]["id"] = 12
    _, outcomes = error_report(both, found((0, [0.0, 0, 20, 20]), (0, [55.0, 55, 20, 20])))
    assert outcomes.kind.tolist() == [CORRECT, IGNORED]
    assert len(outcomes.objects) == 1


def test_images_without_objects_have_only_background() -> None:
    labelled = truth((1, [0, 0, 20, 20]))
    labelled["images"].append({**IMAGE, "id": 8})
    boxes = found((0, [0.0, 0, 20, 20]), (0, [10.0, 10, 20, 20]))
    boxes.image_ids[1] = 8
    assert error_report(labelled, boxes)[1].kind.tolist() == [CORRECT, "background"]


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_hotcocos(seed: int) -> None:
    labelled, boxes = scene(seed, spurious=20 * (seed % 2))
    labelled["annotations"] = [
        a for a in labelled["annotations"] if not a["iscrowd"]
    ]  # hotcoco measures from crowds too
    report, outcomes = error_report(labelled, boxes)
    counts = Counter(outcomes.kind.tolist())
    assert {row["type"]: row["count"] for row in report["types"] if row["type"] != MISSED} == {
        kind: counts[kind] for kind in FALSE
    }
    assert counts[CORRECT] == (outcomes.found_with >= 0).sum()
