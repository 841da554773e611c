"""Conversions: what a layout cannot hold is said, and the programs that people open it with read the same boxes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from nasdet.data import Dataset
from nasdet.data.writers import WRITERS, losses, write_folder
from tests.data.conftest import CocoFolder
from tests.data.test_layouts import assert_same_boxes

Opens = Callable[..., Dataset]


@pytest.fixture
def rich(tmp_path: Path, opens: Opens) -> Dataset:
    """Boxes at fractions of a pixel, crowds, masks, areas, a class without objects, names that YAML may misread."""
    folder = CocoFolder(tmp_path / "rich")
    folder.content["categories"] = [{"id": i, "name": n} for i, n in ((3, "yes"), (7, "1.10"), (9, "Zelle: 'ü'"))]
    rng = np.random.default_rng(0)
    for number, entry in enumerate(folder.content["annotations"]):
        x, y, w, h = (float(v) for v in np.array([1, 1, 8, 8]) + rng.random(4) * np.array([40, 20, 10, 10]))
        entry["bbox"] = [x, y, w, h]
        if number % 7 == 0:
            entry["iscrowd"] = 1
        elif number % 3 == 0:
            entry["segmentation"] = [[x, y, x + w, y, x, y + h]]
            entry["area"] = w * h / 2
    return opens(folder.write())


def counts(dataset: Dataset) -> tuple[int, int, int]:
    """Boxes, regions to ignore, masks."""
    records = [r for split in dataset.info.splits for r in dataset.images(split)]
    crowds = sum(int(r.crowd.sum()) for r in records)
    return sum(len(r.boxes) for r in records) - crowds, crowds, sum(m is not None for r in records for m in r.masks)


def test_what_is_lost_is_said(rich: Dataset, digits: Dataset) -> None:
    boxes, crowds, masks = counts(rich)
    assert (boxes, crowds, masks) == (85, 15, 29)
    assert losses(rich, "coco") == []
    areas = "29 stated areas are not written: the area of the box takes their place"
    assert losses(rich, "voc") == [
        "29 masks are not written, their boxes are: only the COCO layout keeps masks here",
        areas,
        "classes without an object are not written: Zelle: 'ü' (1)",
    ]
    assert losses(rich, "yolo") == [
        "15 regions to ignore (crowds, difficult objects) are not written: rows cannot say them",
        "29 masks are not written, their boxes are: only the COCO layout keeps masks here",
        areas,
    ]
    assert all(losses(digits, layout) == [] for layout in WRITERS)


@pytest.mark.parametrize(
    ("layouts", "left"),
    [
        (("coco",), (85, 15, 29)),
        (("voc",), (85, 15, 0)),
        (("yolo",), (85, 0, 0)),
        (("coco", "yolo", "voc", "coco"), (85, 0, 0)),
        (("voc", "coco", "voc"), (85, 15, 0)),
    ],
)
def test_boxes_stay_to_a_thousandth_of_a_pixel(
    rich: Dataset, opens: Opens, tmp_path: Path, layouts: tuple[str, ...], left: tuple[int, int, int]
) -> None:
    """Round and round: boxes and splits stay, crowds and masks stay or are named by `losses`."""
    dataset, lost = rich, set()
    for number, layout in enumerate(layouts):
        lost |= {sentence.split(" (")[0].split(" are")[0] for sentence in losses(dataset, layout)}
        dataset = opens(write_folder(dataset, layout, tmp_path / f"{number}-{layout}"))
    assert counts(dataset) == left
    assert ("15 regions to ignore" in lost) == (left[1] == 0)
    assert ("29 masks" in lost) == (left[2] == 0)
    if left[1] == 15 and "voc" not in layouts:
        assert_same_boxes(rich, dataset, 1e-3)
    assert rich.info.splits == dataset.info.splits
    for split in rich.info.splits:
        theirs = {r.path.stem: r for r in dataset.images(split)}
        for record in rich.images(split):
            keep = np.ones(len(record.boxes), bool) if left[1] else ~record.crowd
            other = theirs[record.path.stem]
            np.testing.assert_allclose(other.boxes, record.boxes[keep], atol=1e-3)
            names = [[d.info.classes[i] for i in labels] for d, labels in
                     ((rich, record.labels[keep]), (dataset, other.labels))]  # fmt: skip
            assert names[0] == names[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bccd", "coco60", "nuclei", "pcb", "thermal"])
def test_real_sets_go_round(shared_data: Path, opens: Opens, tmp_path: Path, name: str) -> None:
    first = dataset = opens(shared_data / name)
    for number, layout in enumerate(("yolo", "voc", "coco")):
        dataset = opens(write_folder(dataset, layout, tmp_path / f"{number}-{layout}"), max_bad=1.0)
    for split in first.info.splits:
        theirs = {r.path.stem: r for r in dataset.images(split)}
        for record in first.images(split):
            np.testing.assert_allclose(theirs[record.path.stem].boxes, record.boxes[~record.crowd], atol=1e-3)


def test_yaml_names_no_path_and_quotes_names(rich: Dataset, tmp_path: Path) -> None:
    text = (write_folder(rich, "yolo", tmp_path / "yolo") / "data.yaml").read_text(encoding="utf-8")
    content = YAML(typ="safe", pure=True).load(text)
    assert content == {
        **{split: f"images/{split}" for split in rich.info.splits},
        "names": {0: "yes", 1: "1.10", 2: "Zelle: 'ü'"},
    }
    assert '0: "yes"' in text  # YAML 1.1, which most programs read, takes a bare yes for true


def boxes_by_name(dataset: Dataset, split: str, *, crowds: bool) -> dict[str, np.ndarray]:
    """Rows of x1, y1, x2, y2, label in order."""
    found = {}
    for record in dataset.images(split):
        keep = np.ones(len(record.boxes), bool) if crowds else ~record.crowd
        found[record.path.stem] = np.column_stack([record.boxes, record.labels])[keep]
    return found


def assert_equal_rows(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, rows in ours.items():
        np.testing.assert_allclose(theirs[name].reshape(-1, 5), rows, atol=tolerance)


def test_pycocotools_opens_a_conversion(rich: Dataset, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    folder = write_folder(rich, "coco", tmp_path / "coco")
    for split in rich.info.splits:
        coco = COCO(str(folder / "annotations" / f"instances_{split}.json"))
        theirs = {}
        for image in coco.loadImgs(coco.getImgIds()):
            with Image.open(folder / image["file_name"]) as picture:
                assert picture.size == (image["width"], image["height"])
            own = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
            theirs[Path(image["file_name"]).stem] = np.array(
                [[x, y, x + w, y + h, a["category_id"] - 1] for a in own for x, y, w, h in [a["bbox"]]]
            )
            for annotation in own:
                if "segmentation" in annotation:
                    assert coco.annToMask(annotation).any()
        assert_equal_rows(boxes_by_name(rich, split, crowds=True), theirs, 1e-3)


@pytest.mark.parametrize("layout", WRITERS)
def test_supervision_opens_a_conversion(rich: Dataset, tmp_path: Path, layout: str) -> None:
    supervision = pytest.importorskip("supervision", exc_type=ImportError)
    folder = write_folder(rich, layout, tmp_path / layout)
    for split in rich.info.splits:
        theirs = _by_supervision(supervision, folder, layout, split)
        assert_equal_rows(boxes_by_name(rich, split, crowds=layout != "yolo"), theirs, 0.01)


def _by_supervision(supervision: Any, folder: Path, layout: str, split: str) -> dict[str, np.ndarray]:
    if layout == "coco":
        own = supervision.DetectionDataset.from_coco(
            images_directory_path=str(folder), annotations_path=str(folder / f"annotations/instances_{split}.json")
        )
    elif layout == "yolo":
        own = supervision.DetectionDataset.from_yolo(
            images_directory_path=str(folder / "images" / split), data_yaml_path=str(folder / "data.yaml"),
            annotations_directory_path=str(folder / "labels" / split),
        )  # fmt: skip
    else:
        own = supervision.DetectionDataset.from_pascal_voc(
            images_directory_path=str(folder / "JPEGImages"), annotations_directory_path=str(folder / "Annotations")
        )
    listed = (folder / f"ImageSets/Main/{split}.txt").read_text().splitlines() if layout == "voc" else None
    order = {name: label for label, name in enumerate(["yes", "1.10", "Zelle: 'ü'"])}
    labels = np.array([order[name] for name in own.classes])
    # supervision takes VOC's corners for whole pixels counted from 1, the last one included
    shift = np.array([1.0, 1.0, 0.0, 0.0] if layout == "voc" else [0.0] * 4)
    return {
        Path(path).stem: np.column_stack([found.xyxy + shift, labels[found.class_id]])
        for path, found in own.annotations.items() if listed is None or Path(path).stem in listed
    }  # fmt: skip


def test_json_of_a_conversion_holds_crowds_and_masks(rich: Dataset, tmp_path: Path) -> None:
    folder = write_folder(rich, "coco", tmp_path / "coco")
    annotations = [
        a for path in (folder / "annotations").iterdir() for a in json.loads(path.read_text())["annotations"]
    ]
    assert sum(a["iscrowd"] for a in annotations) == 15
    assert sum("segmentation" in a for a in annotations) == 29
