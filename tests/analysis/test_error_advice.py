from __future__ import annotations

from typing import Any

import numpy as np

from nasdet.analysis.error_advice import advise
from nasdet.analysis.tide import error_report
from nasdet.evaluation import Predictions
from nasdet.space.specs import DetectorSpec, InputSpec

SPEC = DetectorSpec(input=InputSpec(height=96, width=96))
IMAGES = [{"id": i, "width": 192, "height": 192, "file_name": f"{i}.png"} for i in range(1, 21)]
NAMES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def advice(*made: tuple[int, list[float], int], side: float = 40.0, spec: DetectorSpec = SPEC) -> list[str]:
    """What is said of images with a cat at (20, 20), on each of which the same boxes were `made`: label, xywh, every
    how many images."""
    annotations = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [20.0, 20.0, side, side], "area": side**2, "iscrowd": 0}
        for i in range(1, 21)
    ]
    truth: dict[str, Any] = {"images": IMAGES, "annotations": annotations, "categories": NAMES}
    rows = [
        (i, x, y, x + w, y + h, 0.9 - 0.01 * i, c) for c, (x, y, w, h), n in made for i in range(1, 21) if i % n == 0
    ]
    t = np.array(rows)
    found = Predictions(t[:, 0].astype(np.int64), t[:, 1:5], t[:, 5], t[:, 6].astype(np.int64))
    report, outcomes = error_report(truth, found)
    return advise(report, outcomes, found, spec, truth["images"])


CAT = [20.0, 20.0, 40.0, 40.0]


def test_nothing_to_do() -> None:
    assert advice((0, CAT, 1)) == [
        "No type of error costs more than 0.5 points of AP50: what is left are boxes that could be tighter."
    ]


def test_missed_objects_name_their_class_and_size() -> None:
    head, *rest = advice((0, CAT, 2))
    assert head.startswith("Most is lost to missed errors: 49.5 points of AP50 (10 at")
    assert rest[0] == "Most of them are cat: 10 of 20."
    assert "Half of these objects are under 20 px on the 96x96 canvas" in rest[1]


def test_small_objects_want_a_larger_input_or_a_finer_level() -> None:
    _, _, words = advice((0, [20.0, 20.0, 8.0, 8.0], 2), side=8.0)
    assert "under 4 px on the 96x96 canvas, and the finest level has one cell per 8 px" in words
    assert "larger input or a finer level (neck.levels from -3)" in words


def test_confusions_name_the_classes() -> None:
    said = advice((1, CAT, 2), (0, [120.0, 20.0, 1.0, 1.0], 20))
    assert said[0].startswith("Most is lost to classification errors")
    assert "Most often cat is taken for dog (10 times)." in said


def test_loose_boxes_of_large_objects() -> None:
    said = advice((0, [60.0, 20.0, 100.0, 100.0], 1), side=100.0)
    assert said[0].startswith("Most is lost to localisation errors")
    assert "scale jitter" in said[1]


def test_duplicates_name_the_option() -> None:
    said = advice((0, CAT, 1), *[(0, [20.0 + d, 20.0, 40.0, 40.0], 1) for d in (0.5, 1.0)])
    assert said[0].startswith("Most is lost to duplicate errors")
    assert "lower head.nms_iou in the bundle's spec.json (now 0.6)" in said[1]


def test_background_doubts_the_labels_first() -> None:
    said = advice((0, CAT, 1), (0, [100.0, 100.0, 40.0, 40.0], 1))
    assert said[0].startswith("Most is lost to background errors")
    assert "20 confident boxes lie on nothing labelled" in said[1]
