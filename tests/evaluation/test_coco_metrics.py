from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.eval_speed import by_pycocotools, scene
from nasdet.data import open_data
from nasdet.evaluation import CLASS, MASK, METRICS, Predictions, coco_metrics, mask_truth

ANNOTATIONS = "annotations/instances_train_source_ids.json"
"""Those images of coco60 whose polygons are known."""


@pytest.mark.parametrize("seed", range(4))
def test_equals_pycocotools(seed: int) -> None:
    truth, found = scene(seed)
    ours = np.array(list(coco_metrics(truth, found).values()))
    np.testing.assert_allclose(ours, by_pycocotools(truth, found), atol=1e-9)
    assert 0.05 < ours[0] < 0.9


def test_the_ap_of_each_class_is_that_of_the_class_alone() -> None:
    truth, found = scene(1)
    figures = coco_metrics(truth, found, classes=True)
    names = {category["id"]: category["name"] for category in truth["categories"]}
    assert list(figures) == [*METRICS, *(CLASS + name for name in names.values())]
    seen = []
    for number, name in names.items():
        own = [a for a in truth["annotations"] if a["category_id"] == number]
        alone = found.taken(np.flatnonzero(found.labels == number - 1))
        expected = by_pycocotools({**truth, "annotations": own}, alone)[0] if own else -1.0
        assert figures[CLASS + name] == pytest.approx(expected, abs=1e-9)
        seen += [expected] * bool(own)
    assert figures["ap"] == pytest.approx(np.mean(seen), abs=1e-9)


def test_nothing_found_is_zero() -> None:
    truth, _ = scene(0)
    assert coco_metrics(truth, Predictions.concatenate([]))["ap"] == 0.0


def test_no_ground_truth_is_minus_one() -> None:
    truth, found = scene(0, objects=0, spurious=5)
    assert coco_metrics(truth, found) == dict.fromkeys(METRICS, -1.0)


def reference(truth: dict[str, Any], results: Any, kind: str) -> list[float]:
    """What pycocotools says."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(truth)
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(results), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float(value) for value in run.stats]


def shaken(truth: dict[str, Any], seed: int) -> Predictions:
    """The masks of the ground truth, moved and partly under another class, some twice."""
    rng = np.random.default_rng(seed)
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    rows = []
    for annotation in truth["annotations"] * 2:
        if annotation["iscrowd"] or "segmentation" not in annotation or rng.random() < 0.2:
            continue
        height, width = sizes[annotation["image_id"]]
        code = coco_mask.merge(coco_mask.frPyObjects(annotation["segmentation"], height, width))
        shift = tuple((rng.normal(0, 0.08, 2) * annotation["bbox"][:1:-1]).round().astype(int))
        code = coco_mask.encode(np.asfortranarray(np.roll(coco_mask.decode(code), shift, (0, 1))))
        x, y, w, h = coco_mask.toBbox(code)
        label = annotation["category_id"] - 1 if rng.random() < 0.9 else 0
        rows.append((annotation["image_id"], [x, y, x + w, y + h], rng.random(), label, code))
    ids, boxes, scores, labels, masks = zip(*rows, strict=True)
    return Predictions(np.array(ids), np.array(boxes), np.array(scores), np.array(labels), tuple(masks))


def equal_in_both(truth: dict[str, Any], found: Predictions) -> dict[str, float]:
    ours = coco_metrics(truth, found)
    assert list(ours) == [*METRICS, *(MASK + name for name in METRICS)]
    boxes, masks = list(ours.values())[:12], list(ours.values())[12:]
    np.testing.assert_allclose(boxes, reference(truth, found.to_coco_array(), "bbox"), rtol=0, atol=1e-9)
    results = [{**r, "segmentation": dict(r["segmentation"])} for r in found.to_coco_masks()]
    np.testing.assert_allclose(masks, reference(mask_truth(truth), results, "segm"), rtol=0, atol=1e-9)
    return ours


def with_polygons(truth: dict[str, Any], seed: int) -> dict[str, Any]:
    """Ground truth whose objects have triangles, crowds have runs, and every tenth object has none."""
    rng = np.random.default_rng(seed)
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    for number, annotation in enumerate(truth["annotations"]):
        x, y, w, h = annotation["bbox"]
        polygon = [[x, y, x + w, y + rng.random() * h, x + rng.random() * w, y + h]]
        if annotation["iscrowd"]:
            code = coco_mask.merge(coco_mask.frPyObjects(polygon, *sizes[annotation["image_id"]]))
            annotation["segmentation"] = {**code, "counts": code["counts"].decode()}
        elif number % 10:
            annotation["segmentation"] = polygon
    return truth


@pytest.mark.parametrize("seed", range(3))
def test_masks_equal_pycocotools(seed: int) -> None:
    truth = with_polygons(scene(seed)[0], seed)
    figures = equal_in_both(truth, shaken(truth, seed))
    assert 0.05 < figures["mask_ap"] < 0.9


def test_real_masks_equal_pycocotools(shared_data: Path) -> None:
    source = Path("coco60.yaml")
    source.write_text(f"root: {shared_data / 'coco60'}\nformat: coco\ntrain: {ANNOTATIONS}\n")
    dataset = open_data(source)
    for split in ("train", "val"):
        truth = dataset.coco(split)
        figures = equal_in_both(truth, shaken(truth, seed=0))
        assert 0.1 < figures["mask_ap"] < 0.9
        assert figures["mask_ap"] != figures["ap"]


def test_masks_are_judged_only_where_both_have_them() -> None:
    truth, boxes = scene(0)
    assert list(coco_metrics(with_polygons(truth, 0), boxes)) == list(METRICS)
    masked = shaken(truth, 0)
    assert list(coco_metrics(scene(0)[0], masked)) == list(METRICS)
    nothing = Predictions(*(np.zeros((0, *c.shape[1:]), c.dtype) for c in list(vars(masked).values())[:4]), masks=())
    assert coco_metrics(truth, nothing)["mask_ap"] == 0.0


def test_an_object_without_a_mask_is_ignored_among_masks() -> None:
    truth = {"annotations": [{"bbox": [1, 2, 3, 4], "iscrowd": 0}]}
    (ignored,) = mask_truth(truth)["annotations"]
    assert ignored["iscrowd"] == 1 and ignored["segmentation"] == [[1, 2, 4, 2, 4, 6, 1, 6]]


def test_masks_of_several_workers_are_joined() -> None:
    masked = shaken(with_polygons(scene(0)[0], 0), 0)
    idle = Predictions.concatenate([])
    assert idle.masks is None
    joined = Predictions.concatenate([masked, idle, masked])
    assert joined.masks == (masked.masks or ()) * 2
    assert len(joined.scores) == len(joined.masks)
    boxes = dataclasses.replace(masked, masks=None)
    assert Predictions.concatenate([masked, boxes]).masks is None
    assert Predictions.concatenate([boxes, boxes]).to_coco_masks() == []


def test_more_boxes_than_cocos_hundred_count_if_asked_for() -> None:
    corners = np.stack(np.meshgrid(np.arange(12), np.arange(10)), -1).reshape(-1, 2) * 20.0
    objects = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": [x, y, 10.0, 10.0], "area": 100.0, "iscrowd": 0}
        for i, (x, y) in enumerate(corners.tolist(), 1)
    ]
    image = {"id": 1, "width": 240, "height": 200, "file_name": "scene.png"}
    truth = {"images": [image], "annotations": objects, "categories": [{"id": 1, "name": "thing"}]}
    ones = np.ones(len(objects), np.int64)
    found = Predictions(ones, np.hstack([corners, corners + 10]), np.linspace(1, 0.5, len(objects)), 0 * ones)
    assert coco_metrics(truth, found)["ap"] < 0.9
    assert coco_metrics(truth, found, most=120)["ap"] == pytest.approx(1.0)


def test_perfect_boxes_have_ap_one() -> None:
    truth, _ = scene(1)
    objects = [a for a in truth["annotations"] if not a["iscrowd"]]
    xywh = np.array([a["bbox"] for a in objects])
    boxes = np.column_stack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])
    labels = np.array([a["category_id"] - 1 for a in objects])
    ids = np.array([a["image_id"] for a in objects])
    assert coco_metrics(truth, Predictions(ids, boxes, np.ones(len(ids)), labels))["ap"] == pytest.approx(1.0)
