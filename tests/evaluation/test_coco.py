from __future__ import annotations

import numpy as np
import pytest

from benchmarks.eval_speed import by_pycocotools, scene
from nasdet.evaluation import METRICS, Predictions, coco_metrics


@pytest.mark.parametrize("seed", range(4))
def test_equals_pycocotools(seed: int) -> None:
    truth, found = scene(seed)
    ours = np.array(list(coco_metrics(truth, found).values()))
    np.testing.assert_allclose(ours, by_pycocotools(truth, found), atol=1e-9)
    assert 0.05 < ours[0] < 0.9


def test_nothing_found_is_zero() -> None:
    truth, _ = scene(0)
    assert coco_metrics(truth, Predictions.concatenate([]))["ap"] == 0.0


def test_no_ground_truth_is_minus_one() -> None:
    truth, found = scene(0, objects=0, spurious=5)
    assert coco_metrics(truth, found) == dict.fromkeys(METRICS, -1.0)


def test_perfect_boxes_have_ap_one() -> None:
    truth, _ = scene(1)
    objects = [a for a in truth["annotations"] if not a["iscrowd"]]
    xywh = np.array([a["bbox"] for a in objects])
    boxes = np.column_stack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])
    labels = np.array([a["category_id"] - 1 for a in objects])
    ids = np.array([a["image_id"] for a in objects])
    assert coco_metrics(truth, Predictions(ids, boxes, np.ones(len(ids)), labels))["ap"] == pytest.approx(1.0)
