"""Masks: read, checked, drawn with the pixels, and never there unless asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from nasdet.data import Dataset
from nasdet.data.masks import BadMask, Mask, Patch, Polygons, Runs, Window, parse_segmentation, stack
from nasdet.errors import InputError

Opens = Callable[..., Dataset]
SQUARE = [[10, 5, 30, 5, 30, 25, 10, 25]]


def whole(height: int, width: int) -> Window:
    return Window(height, width, 0, 0, height, width, height, width)


def bitmap(mask: Mask, window: Window) -> np.ndarray:
    pixels = np.zeros((1, window.tall, window.wide), bool)
    stack([mask.show(window)], pixels)
    return pixels[0]


def blob(seed: int, height: int = 40, width: int = 60) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height // 10, width // 10)) > 0.5
    return np.kron(noise, np.ones((10, 10), bool))


def forms(pixels: np.ndarray) -> list[dict[str, Any]]:
    """The COCO forms of one bitmap: compressed runs, and plain ones."""
    code = coco_mask.encode(np.asfortranarray(pixels, np.uint8))
    flat = pixels.ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    plain = [0, *runs] if flat[0] else runs
    return [
        {"size": list(pixels.shape), "counts": code["counts"].decode()},
        {"size": list(pixels.shape), "counts": plain},
    ]


@pytest.mark.parametrize("seed", range(6))
def test_both_forms_of_runs_are_the_bitmap(seed: int) -> None:
    pixels = blob(seed)
    for form in forms(pixels):
        mask = parse_segmentation(form)
        assert isinstance(mask, Runs)
        np.testing.assert_array_equal(mask.bitmap(), pixels)
        assert mask.area() == pixels.sum()
        np.testing.assert_array_equal(bitmap(mask, whole(40, 60)), pixels)
        np.testing.assert_array_equal(coco_mask.decode(mask.to_coco(40, 60)), pixels)


@pytest.mark.parametrize("seed", range(6))
def test_polygons_are_filled_as_pycocotools_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.random((2, 12)) * 2 * np.pi, 1)
    parts = [
        (np.stack([30 + 40 * np.cos(a), 20 + 14 * np.sin(a)], 1) + rng.normal(0, 3, 2)).ravel().tolist() for a in angles
    ]
    mask = parse_segmentation(parts)
    assert mask is not None
    assert mask.to_coco(40, 60) == parts
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(parts, 40, 60)))
    assert (bitmap(mask, whole(40, 60)) != expected).mean() < 0.002  # a rectangle's origin rounds its points anew


@pytest.mark.parametrize("nothing", [None, [], {}])
def test_no_segmentation_is_no_mask(nothing: Any) -> None:
    assert parse_segmentation(nothing) is None


BAD: list[tuple[str, Any]] = [
    ("malformed mask", "runs"),
    ("malformed mask", [[1, 2, 3, "4", 5, 6]]),
    ("malformed mask", [[1, 2, 3, 4, 5, 6, 7]]),
    ("malformed mask", [[1, 2, 3, 4, 5, float("nan")]]),
    ("malformed mask", [1, 2, 3, 4, 5, 6]),
    ("malformed mask", {"counts": [2400]}),
    ("malformed mask", {"size": [40, 60], "counts": None}),
    ("malformed mask", {"size": [40, 60], "counts": "\x7f\x7f"}),
    ("mask polygon with too few points", [[1, 2, 30, 4]]),
    ("mask polygon with too few points", [[]]),
    ("mask runs that do not fill their size", {"size": [40, 60], "counts": [3, 4]}),
    ("mask runs that do not fill their size", {"size": [40, 60], "counts": [-3, 2403]}),
    ("mask runs that do not fill their size", {"size": [40, 60], "counts": []}),
    ("mask runs that do not fill their size", {"size": [40, 60], "counts": "34"}),
    ("mask of another size than the image", {"size": [60, 40], "counts": [1200, 600, 600]}),
    ("empty mask", {"size": [40, 60], "counts": [2400]}),
    ("mask outside the image", [[70, 5, 80, 5, 80, 9]]),
    ("mask outside the image", [[5, 5, 1e9, 5, 5, 9]]),
]


@pytest.mark.parametrize(("kind", "segmentation"), BAD)
def test_bad_mask_is_counted_and_the_box_stays(coco_folder: Any, opens: Opens, kind: str, segmentation: Any) -> None:
    coco_folder.annotate(1, [10, 5, 20, 20], segmentation=segmentation)
    dataset = opens(coco_folder.write())
    assert [(d.kind, d.count, d.action) for d in dataset.info.defects] == [(kind, 1, "skipped")]
    assert "annotation 101" in dataset.info.defects[0].examples[0]
    records = [r for split in dataset.info.splits for r in dataset.images(split)]
    assert sum(len(r.boxes) for r in records) == 101
    assert not dataset.info.masks and not any(r.masks for r in records)
    assert not any("segmentation" in a for s in dataset.info.splits for a in dataset.coco(s)["annotations"])


def test_one_bad_part_leaves_the_others(coco_folder: Any, opens: Opens) -> None:
    coco_folder.annotate(1, [10, 5, 20, 20], segmentation=[*SQUARE, [70, 5, 80, 5, 80, 9]])
    coco_folder.annotate(1, [50, 5, 10, 20], segmentation=[[50, 5, 66, 5, 66, 25]])
    dataset = opens(coco_folder.write())
    assert {(d.kind, d.count) for d in dataset.info.defects} == {
        ("mask outside the image", 1),
        ("mask partly outside the image", 1),
    }
    truth = [a for s in dataset.info.splits for a in dataset.coco(s)["annotations"] if "segmentation" in a]
    assert [a["segmentation"] for a in truth] == [SQUARE, [[50, 5, 66, 5, 66, 25]]]


def test_masks_keep_the_order_of_the_boxes(coco_folder: Any, opens: Opens) -> None:
    coco_folder.annotate(1, [10, 5, 20, 20], segmentation=SQUARE)
    coco_folder.annotate(1, [5, 5, 0, 10], segmentation=[[1, 1, 2, 1, 2, 2]])
    coco_folder.annotate(1, [40, 5, 10, 10], segmentation=[[40, 5, 50, 5, 50, 15]], iscrowd=1)
    dataset = opens(coco_folder.write())
    record = next(r for s in dataset.info.splits for r in dataset.images(s) if r.id == 1)
    assert len(record.masks) == len(record.boxes) == 7
    assert [m is not None for m in record.masks] == [False] * 5 + [True] * 2
    for box, mask in zip(record.boxes[5:], record.masks[5:], strict=True):
        assert isinstance(mask, Polygons)
        points = np.concatenate(mask.parts)
        np.testing.assert_array_equal([*points.min(0), *points.max(0)], box)


def test_masks_decide_the_fingerprint_where_there_are_any(coco_folder: Any, opens: Opens) -> None:
    plain = opens(coco_folder.write()).info.fingerprint
    coco_folder.content["annotations"][3]["segmentation"] = []
    assert opens(coco_folder.write()).info.fingerprint == plain
    seen = {plain}
    for shift in (0, 1):
        polygon = [31 + shift, 5, 38, 5, 38, 20]
        coco_folder.content["annotations"][3]["segmentation"] = [polygon]
        seen.add(opens(coco_folder.write()).info.fingerprint)
    assert len(seen) == 3


@pytest.mark.parametrize("kind", ["polygons", "runs"])
def test_masks_turn_and_scale_with_their_boxes(coco_folder: Any, opens: Opens, kind: str) -> None:
    """Stated in the unrotated grid, and at half the scale, as boxes may be."""
    pixels = np.zeros((40, 60), bool)
    pixels[8:16, 8:40] = True
    polygon = [[8, 8, 40, 8, 40, 16, 8, 16]]
    exif = Image.Exif()
    exif[274] = 6
    image = Image.fromarray(np.kron(pixels, np.ones((2, 2), bool)).astype(np.uint8) * 255)
    image.resize((60, 40)).save(coco_folder.root / "images" / "turned.png", exif=exif)
    image.save(coco_folder.root / "images" / "large.png")
    for number, name in ((50, "turned.png"), (51, "large.png")):
        coco_folder.content["images"].append({"id": number, "file_name": name, "width": 60, "height": 40})
        segmentation = polygon if kind == "polygons" else forms(pixels)[0]
        coco_folder.annotate(number, [8, 8, 32, 8], segmentation=segmentation)
    dataset = opens(coco_folder.write())
    for number, size in ((50, (60, 40)), (51, (80, 120))):
        split, record = next((s, r) for s in dataset.info.splits for r in dataset.images(s) if r.id == number)
        assert (record.height, record.width) == size
        truth = next(a for a in dataset.coco(split)["annotations"] if a["image_id"] == number)["segmentation"]
        code = truth if kind == "runs" else coco_mask.merge(coco_mask.frPyObjects(truth, *size))
        assert list(code["size"]) == list(size)
        x, y, w, h = coco_mask.toBbox(code)
        np.testing.assert_allclose([x, y, x + w, y + h], record.boxes[0], atol=1)


def test_yolo_polygons_are_masks(coco_folder: Any, opens: Opens) -> None:
    coco_folder.write()
    root = coco_folder.root.parent / "yolo"
    for number, path in enumerate(sorted((coco_folder.root / "images").glob("*.png"))):
        split = "val" if number % 4 == 0 else "train"
        for folder, name, content in (
            ("images", path.name, path.read_bytes()),
            ("labels", f"{path.stem}.txt", b"0 0.1 0.2 0.5 0.2 0.5 0.8\n0 0.5 0.5 0.2 0.2"),
        ):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
            (root / folder / split / name).write_bytes(content)
    dataset = opens(root)
    assert dataset.info.masks
    for record in dataset.images("val"):
        mask, none = record.masks
        assert isinstance(mask, Polygons) and none is None
        np.testing.assert_allclose(mask.parts[0], [[6, 8], [30, 8], [30, 32]])
        np.testing.assert_allclose(record.boxes[0], [6, 8, 30, 32], atol=1e-5)


def test_real_masks_are_as_published(shared_data: Path, opens: Opens, tmp_path: Path) -> None:
    """COCO's own polygons and crowds come out as they went in."""
    path = shared_data / "coco60" / "annotations" / "instances_train_source_ids.json"
    published: dict[int, list[Any]] = {}
    for annotation in json.loads(path.read_text())["annotations"]:
        published.setdefault(annotation["image_id"], []).append(annotation["segmentation"])
    dataset = opens(coco60(shared_data, tmp_path))
    assert dataset.info.masks and not dataset.info.defects
    found: dict[int, list[Any]] = {}
    for split in dataset.info.splits:
        for annotation in dataset.coco(split)["annotations"]:
            found.setdefault(annotation["image_id"], []).append(annotation["segmentation"])
    assert sum(map(len, found.values())) == sum(map(len, published.values())) == 246
    for image, masks in found.items():
        for ours, theirs in zip(masks, published[image], strict=True):
            runs = isinstance(theirs, dict)
            expected = coco_mask.frPyObjects(theirs, *theirs["size"])["counts"].decode() if runs else theirs
            assert (ours["counts"] if runs else ours) == expected


def test_digits_have_no_masks(digits: Dataset) -> None:
    assert not digits.info.masks
    assert digits.cached("val", 96, 96).target(0).masks is None
    assert set(digits.cached("val", 96, 96).target(0, masks=True).masks or ()) == {None}


def test_patch_flips_within_its_canvas() -> None:
    pixels = np.zeros((1, 6, 8), bool)
    patch = Patch(1, 2, np.array([[True, False, True], [True, True, False]]))
    stack([patch], pixels)
    for vertical in (False, True):
        for horizontal in (False, True):
            turned = np.zeros((2, 6, 8), bool)
            stack([None, patch.flipped(6, 8, vertical=vertical, horizontal=horizontal)], turned)
            expected = pixels[0, :: -1 if vertical else 1, :: -1 if horizontal else 1]
            np.testing.assert_array_equal(turned[1], expected)
            assert not turned[0].any()


def test_text_of_a_bad_mask() -> None:
    with pytest.raises(BadMask, match="too few points"):
        parse_segmentation([[1, 2, 3, 4]])


def test_training_on_masks_without_masks_is_a_plain_error(digits: Dataset) -> None:
    from nasdet.data import train_loader
    from nasdet.space.specs import AugmentSpec

    with pytest.raises(InputError, match="no object has a mask"):
        train_loader(
            digits.cached("val", 96, 96), augment=AugmentSpec(), batch_size=2, epoch=0, seed=0, fill=(0.0,), masks=True
        )


def coco60(shared_data: Path, folder: Path) -> Path:
    """A data YAML of the images of coco60 whose polygons are known."""
    path = folder / "coco60.yaml"
    path.write_text(
        f"root: {shared_data / 'coco60'}\nformat: coco\ntrain: annotations/instances_train_source_ids.json\n"
    )
    return path
