"""Pairs of detections and objects against pycocotools', one by one, and COCO's rule in small."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.eval_speed import scene
from nasdet.evaluation import Predictions
from nasdet.evaluation.matching import match

Pairs = dict[tuple[int, int], int]
"""(detection, IoU threshold) -> the object it found, or the crowd it lies in, both by their id."""


def pairs_of(images: Any) -> tuple[Pairs, set[tuple[int, int]]]:
    """The pairs in objects of any size, and which detections are ignored."""
    pairs: Pairs = {}
    ignored = set()
    for image in images:
        if image is not None and image["aRng"][1] == 1e10 and image["aRng"][0] == 0:
            ids = image["dtIds"]
            found, out = (np.reshape(image[key], (10, len(ids))) for key in ("dtMatches", "dtIgnore"))
            pairs |= {(int(ids[i]), int(t)): int(found[t, i]) for t, i in np.argwhere(found)}
            ignored |= {(int(ids[i]), int(t)) for t, i in np.argwhere(out)}
    return pairs, ignored


def by_nasdet(truth: dict[str, Any], found: Predictions) -> tuple[Pairs, set[tuple[int, int]]]:
    return pairs_of(match(truth, found.to_coco_array()).eval_imgs)


def by_pycocotools(truth: dict[str, Any], found: Predictions) -> tuple[Pairs, set[tuple[int, int]]]:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(found.to_coco_array()), "bbox")
        run.evaluate()
    return pairs_of(run.evalImgs)


@pytest.mark.parametrize("seed", range(3))
def test_every_pair_is_pycocotools(seed: int) -> None:
    truth, found = scene(seed, spurious=10)
    ours = by_nasdet(truth, found)
    assert ours == by_pycocotools(truth, found)
    crowds = {a["id"] for a in truth["annotations"] if a["iscrowd"]}
    assert len(ours[0]) > 500 and crowds & set(ours[0].values()) and ours[1]


def test_matches_without_sizes_are_the_same() -> None:
    truth, found = scene(1)
    assert pairs_of(match(truth, found.to_coco_array(), by_size=False).eval_imgs) == by_nasdet(truth, found)


WHOLE = [0.0, 0.0, 100.0, 100.0]
A, B = [0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 5.0]  # B has an IoU of exactly 0.5 with A


@pytest.mark.parametrize(
    ("name", "objects", "crowds", "boxes", "wanted"),
    [
        ("an IoU of the threshold is enough", [A], [], [B], {1: 1}),
        ("a little less is not", [A], [], [[0.0, 0.0, 10.0, 4.999]], {}),
        ("the highest score chooses first", [A], [], [B, A], {1: 1}),
        ("the best overlap is taken", [B, A], [], [A], {1: 2}),
        ("a taken object is left for the next best", [A, [0.0, 0.0, 10.0, 9.0]], [], [A, A], {1: 1, 2: 2}),
        ("of equal overlaps the last object is taken", [A, A], [], [A], {1: 2}),
        ("an object goes before a crowd", [B], [A], [A], {1: 1}),
        ("a crowd takes any number by their share inside", [], [WHOLE], [A, A, B], {1: 1, 2: 1, 3: 1}),
    ],
)
def test_rule(name: str, objects: list[Any], crowds: list[Any], boxes: list[Any], wanted: dict[int, int]) -> None:
    annotations = [
        {"id": i, "image_id": 7, "category_id": 1, "bbox": b, "area": b[2] * b[3], "iscrowd": int(i > len(objects))}
        for i, b in enumerate([*objects, *crowds], start=1)
    ]
    image = {"id": 7, "width": 100, "height": 100, "file_name": "7.png"}
    truth = {"images": [image], "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    xywh = np.array(boxes)
    corners = np.column_stack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])
    count = len(boxes)
    found = Predictions(np.full(count, 7), corners, np.linspace(0.9, 0.5, count), np.zeros(count, np.int64))
    pairs, ignored = by_nasdet(truth, found)
    assert {detection: number for (detection, t), number in pairs.items() if t == 0} == wanted
    assert {detection for detection, t in ignored if t == 0} == {d for d, n in wanted.items() if n > len(objects)}
    assert (pairs, ignored) == by_pycocotools(truth, found)
