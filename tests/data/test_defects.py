"""Every defect is counted and named, repaired or skipped; too many stop the run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nasdet.data import Dataset
from nasdet.data.annotation_checks import check_image
from nasdet.data.defects import DefectLog
from nasdet.data.image_scan import Scan
from nasdet.data.records import RawImage, RawObject
from nasdet.errors import InputError

Opens = Callable[..., Dataset]

DEFECTS: list[tuple[str, str, list[Any], dict[str, Any], int]] = [
    # kind, action, bbox, further fields, boxes that are left
    ("zero-size box", "skipped", [5, 5, 0, 10], {}, 0),
    ("zero-size box", "skipped", [5, 5, 0.2, 10], {}, 0),
    ("reversed box", "repaired", [25, 25, -10, -12], {}, 1),
    ("box outside the image", "skipped", [70, 5, 10, 10], {}, 0),
    ("box outside the image", "skipped", [-20, 5, 10, 10], {}, 0),
    ("box partly outside the image", "repaired", [50, 5, 20, 10], {}, 1),
    ("NaN or infinite box", "skipped", [math.nan, 5, 10, 10], {}, 0),
    ("NaN or infinite box", "skipped", [5, 5, math.inf, 10], {}, 0),
    ("malformed annotation", "skipped", ["5", 5, 10, 10], {}, 0),
    ("malformed annotation", "skipped", [5, 5, 10], {}, 0),
    ("malformed annotation", "skipped", None, {}, 0),
    ("unknown class", "skipped", [5, 5, 10, 10], {"category": 99}, 0),
    ("unknown class", "skipped", [5, 5, 10, 10], {"category": None}, 0),
    ("annotation of an unknown image", "skipped", [5, 5, 10, 10], {"image": 999}, 0),
    ("duplicate annotation id", "repaired", [5, 5, 10, 10], {"id": 1}, 1),
    ("near-duplicate boxes", "reported", [1, 3, 8, 20], {"category": 7}, 1),
]


@pytest.mark.parametrize(("kind", "action", "bbox", "fields", "left"), DEFECTS)
def test_defect_is_counted_and_named(
    coco_folder: Any, opens: Opens, kind: str, action: str, bbox: Any, fields: dict[str, Any], left: int
) -> None:
    fields = dict(fields)
    coco_folder.annotate(fields.pop("image", 1), bbox, fields.pop("category", 3), **fields)
    dataset = opens(coco_folder.write())
    assert [(d.kind, d.count, d.action) for d in dataset.info.defects] == [(kind, 1, action)]
    number = fields.get("id", 101)
    assert f"annotation {number}" in dataset.info.defects[0].examples[0]
    assert "instances.json" in dataset.info.defects[0].examples[0]
    records = [r for split in dataset.info.splits for r in dataset.images(split)]
    assert sum(len(r.boxes) for r in records) == 100 + left
    for record in records:
        assert np.isfinite(record.boxes).all()
        assert (record.boxes[:, 2:] > record.boxes[:, :2]).all()
        assert (record.boxes >= 0).all()
        assert (record.boxes <= [60, 40, 60, 40]).all()


def test_reversed_box_is_put_in_order(coco_folder: Any, opens: Opens) -> None:
    coco_folder.annotate(1, [25, 25, -10, -12])
    dataset = opens(coco_folder.write())
    boxes = next(r for s in dataset.info.splits for r in dataset.images(s) if r.id == 1).boxes
    np.testing.assert_array_equal(boxes[-1], [15, 13, 25, 25])


@pytest.mark.parametrize("bbox", [[5, 5, 0, 1], [70, 5, 9, 9], [25, 25, -9, -9], ["a", 1, 1, 1], [math.nan, 1, 1, 1]])
def test_too_many_bad_annotations_stop(coco_folder: Any, opens: Opens, bbox: Any) -> None:
    for image in range(1, 7):
        coco_folder.annotate(image, bbox)
    root = coco_folder.write()
    with pytest.raises(InputError, match=r"6 of 106 annotations are bad \(5\.7%, at most 5% are accepted\)"):
        opens(root)
    assert opens(root, max_bad=0.1).info.defects[0].count == 6


def test_an_object_in_a_region_to_ignore_is_no_duplicate(coco_folder: Any, opens: Opens) -> None:
    coco_folder.annotate(1, [5, 25, 10, 10])
    coco_folder.annotate(1, [5, 25, 10, 10], iscrowd=1)
    assert opens(coco_folder.write()).info.defects == ()


def test_near_duplicates_and_clipped_boxes_do_not_stop(coco_folder: Any, opens: Opens) -> None:
    for image in range(1, 21):
        coco_folder.annotate(image, [50, 5, 20, 10])
        coco_folder.annotate(image, [50, 5, 20, 10])
    kinds = {d.kind: d.count for d in opens(coco_folder.write()).info.defects}
    assert kinds == {"box partly outside the image": 40, "near-duplicate boxes": 20}


def test_missing_and_undecodable_images(coco_folder: Any, opens: Opens) -> None:
    root = coco_folder.write()
    (root / "images" / "im001.png").unlink()
    kinds = [(d.kind, d.count, d.examples[0]) for d in opens(root).info.defects]
    assert kinds == [("missing image", 1, "instances.json: im001.png")]
    (root / "images" / "im002.png").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"2 of 20 images are bad \(10\.0%.*missing image 1x.*undecodable image 1x"):
        opens(root)
    dataset = opens(root, max_bad=0.2)
    assert sum(dataset.info.splits.values()) == 18
    assert any(d.kind == "undecodable image" and "im002.png" in d.examples[0] for d in dataset.info.defects)


def test_duplicate_image_id(coco_folder: Any, opens: Opens) -> None:
    coco_folder.content["images"][1]["id"] = 1
    with pytest.raises(InputError, match="duplicate image id"):
        opens(coco_folder.write(), max_bad=0.0)
    dataset = opens(coco_folder.root, max_bad=0.2)
    assert sum(dataset.info.splits.values()) == 19


def test_stated_size(coco_folder: Any, opens: Opens) -> None:
    for entry in coco_folder.content["images"][:2]:
        entry |= {"width": 120, "height": 80}
    coco_folder.content["images"][2] |= {"width": 50, "height": 50}
    coco_folder.content["annotations"][0]["area"] = 100.0
    dataset = opens(coco_folder.write())
    kinds = {d.kind: (d.count, d.action) for d in dataset.info.defects}
    assert kinds == {
        "boxes stated at another image scale": (2, "repaired"),
        "image size differs from the stated one": (1, "reported"),
    }
    record = next(r for s in dataset.info.splits for r in dataset.images(s) if r.id == 1)
    np.testing.assert_allclose(record.boxes[0], [0.5, 1.5, 4.5, 11.5])
    assert record.area[0] == 25.0  # the stated mask of 100 pixels, at half the scale


def test_same_image_in_two_splits(coco_folder: Any, opens: Opens) -> None:
    root = coco_folder.write("annotations/instances_train.json")
    name = "copy.png"
    Image.open(root / "images" / "im001.png").save(root / "images" / name)
    coco_folder.content["images"] = [{"id": 1, "file_name": name, "width": 60, "height": 40}]
    coco_folder.content["annotations"] = []
    coco_folder.annotate(1, [1, 2, 8, 20])
    coco_folder.write("annotations/instances_val.json")
    defects = opens(root).info.defects
    assert [(d.kind, d.count) for d in defects] == [("same image in two splits", 1)]
    assert defects[0].examples == ("copy.png (train and val)",)


def test_defects_of_the_real_voc_files(shared_data: Any, opens: Opens, tmp_path: Any) -> None:
    source = tmp_path / "bccd.yaml"
    source.write_text(f"format: voc\nroot: {shared_data / 'bccd'}\n")
    defects = {d.kind: d for d in opens(source).info.defects}
    assert defects["zero-size box"].count == 2
    named = " ".join(defects["zero-size box"].examples)
    assert "BloodImage_00338.xml" in named and "BloodImage_00343.xml" in named
    assert defects["near-duplicate boxes"].count == 7


def test_twenty_thousand_boxes_in_one_image_are_checked_soon() -> None:
    """Comparing all pairs would take 3 GB."""
    rng, log = np.random.default_rng(0), DefectLog()
    corners = rng.uniform(0, 900, (20_000, 2))
    sides = rng.uniform(5, 60, (20_000, 2))
    boxes = np.concatenate([corners, corners + sides], 1)
    boxes[10_000:] = boxes[:10_000] + 0.01
    objects = [RawObject(tuple(box), 0, False, None, f"a.png, {i}") for i, box in enumerate(boxes.tolist())]
    raw, scan = RawImage(Path("a.png"), "train", objects), Scan((1, 1), "d", 1000, 1000)
    start = time.process_time()
    assert len(check_image(raw, scan, 1, log).boxes) == 20_000
    assert time.process_time() - start < 3
    assert log.count({"near-duplicate boxes"}) >= 9_900
