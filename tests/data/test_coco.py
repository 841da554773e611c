"""The COCO layout: where files are found, sparse ids, crowds, rotation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nasdet.data import Dataset

Opens = Callable[..., Dataset]


@pytest.mark.parametrize("place", ["", "images", "JPEGImages", "train2017", "val2017", "images/train", "annotations"])
def test_images_are_found(coco_folder: Any, opens: Opens, place: str) -> None:
    root = coco_folder.write()
    target = root / place
    target.mkdir(parents=True, exist_ok=True)
    for path in list((root / "images").glob("*.png")):
        path.rename(target / path.name)
    assert sum(opens(root).info.splits.values()) == 20


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("annotations/instances_train.json", "annotations/instances_val.json"),
        ("annotations/train2017.json", "annotations/val2017.json"),
        ("train/_annotations.coco.json", "valid/_annotations.coco.json"),
        ("train.json", "validation.json"),
    ],
)
def test_splits_are_named_by_files(coco_folder: Any, opens: Opens, train: str, val: str) -> None:
    everything = coco_folder.content["images"]
    coco_folder.content["images"] = everything[:15]
    coco_folder.write(train)
    coco_folder.content["images"] = everything[15:]
    coco_folder.write(val)
    annotations = coco_folder.content["annotations"]
    for name, wanted in ((train, range(1, 16)), (val, range(16, 21))):
        content = json.loads((coco_folder.root / name).read_text())
        content["annotations"] = [a for a in annotations if a["image_id"] in wanted]
        (coco_folder.root / name).write_text(json.dumps(content))
    info = opens(coco_folder.root).info
    assert info.splits == {"train": 15, "val": 5}
    assert info.split_rule == "as stated by the files"


def test_equal_names_are_looked_up_in_the_folder_of_their_split(coco_folder: Any, opens: Opens) -> None:
    everything, images = coco_folder.content["images"], coco_folder.root / "images"
    annotations = coco_folder.content["annotations"]
    for split, part in (("test", everything[:6]), ("train", everything[6:14]), ("val", everything[14:])):
        (images / split).mkdir()
        for number, entry in enumerate(part):
            (images / entry["file_name"]).rename(images / split / f"{number}.png")
            entry["file_name"] = f"{number}.png"
        ids = {entry["id"] for entry in part}
        coco_folder.content["images"] = part
        coco_folder.content["annotations"] = [a for a in annotations if a["image_id"] in ids]
        coco_folder.write(f"annotations/instances_{split}.json")
    dataset = opens(coco_folder.root)
    for split in ("test", "train", "val"):
        assert {record.path.parent.name for record in dataset.images(split)} == {split}


def test_images_that_name_no_split_are_told(coco_folder: Any, opens: Opens) -> None:
    coco_folder.write()
    yolo = coco_folder.root.parent / "yolo"
    for number, path in enumerate(sorted((coco_folder.root / "images").glob("*.png"))):
        part = ("train", "val", "batch2")[number % 3]
        for kind, name, data in (
            ("images", path.name, path.read_bytes()),
            ("labels", f"{path.stem}.txt", b"0 0.5 0.5 0.2 0.2"),
        ):
            (yolo / kind / part).mkdir(parents=True, exist_ok=True)
            (yolo / kind / part / name).write_bytes(data)
    info = opens(yolo).info
    assert info.splits == {"train": 7, "val": 7}
    assert info.split_rule == "as stated by the files; 6 images in folders that name no split are left out"


def test_sparse_ids_become_ranks(coco_folder: Any, opens: Opens) -> None:
    coco_folder.content["categories"].reverse()  # the ids count, not the order in the file
    dataset = opens(coco_folder.write())
    assert dataset.info.classes == ("cell", "dust")
    truth = dataset.coco("train")
    assert [c["id"] for c in truth["categories"]] == [1, 2]
    first = dataset.images("train")[0]
    assert list(first.labels) == [1, 0, 1, 0, 1]
    own = [a for a in truth["annotations"] if a["image_id"] == first.id]
    assert [a["category_id"] for a in own] == [2, 1, 2, 1, 2]
    np.testing.assert_allclose(own[0]["bbox"], [1, 2 + first.id % 10, 8, 20])


def test_box_from_polygons(coco_folder: Any, opens: Opens) -> None:
    coco_folder.content["images"].append({"id": 50, "file_name": "extra.png", "width": 60, "height": 40})
    Image.fromarray(np.arange(2400, dtype=np.uint8).reshape(40, 60)).convert("RGB").save(
        coco_folder.root / "images/extra.png"
    )
    coco_folder.annotate(50, None, segmentation=[[5, 6, 20, 6, 20, 30], [2, 8, 9, 8, 9, 12]], area=99.0)
    dataset = opens(coco_folder.write())
    record = next(r for s in dataset.info.splits for r in dataset.images(s) if r.id == 50)
    np.testing.assert_array_equal(record.boxes, [[2, 6, 20, 30]])
    np.testing.assert_array_equal(record.area, [99])


def test_a_stated_area_is_at_most_that_of_the_box(coco_folder: Any, opens: Opens) -> None:
    coco_folder.annotate(1, [5, 5, 10, 12], area=500.0)
    dataset = opens(coco_folder.write())
    record = next(r for s in dataset.info.splits for r in dataset.images(s) if r.id == 1)
    assert record.area[-1] == 120


@pytest.mark.parametrize("stored_grid", [True, False])
def test_exif_rotation(tmp_path: Path, opens: Opens, coco_folder: Any, stored_grid: bool) -> None:
    """Boxes refer to the upright image, or to the stored pixels if the stated size says so; the result is the same."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[8:16, 8:40] = 255
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(image).save(coco_folder.root / "images" / "turned.jpg", exif=exif)
    size = {"width": 60, "height": 40} if stored_grid else {"width": 40, "height": 60}
    coco_folder.content["images"].append({"id": 50, "file_name": "turned.jpg", **size})
    coco_folder.annotate(50, [8, 8, 32, 8] if stored_grid else [24, 8, 8, 32])
    dataset = opens(coco_folder.write())
    split, index = next((s, i) for s in dataset.info.splits for i, r in enumerate(dataset.images(s)) if r.id == 50)
    record = dataset.images(split)[index]
    assert (record.width, record.height) == (40, 60)
    np.testing.assert_array_equal(record.boxes, [[24, 8, 32, 40]])
    cached = dataset.cached(split, 64, 64)
    pixels, (box,) = cached.image(index), cached.target(index).boxes.round().astype(int)
    assert pixels[box[1] + 2 : box[3] - 2, box[0] + 2 : box[2] - 2].min() > 200
    assert pixels[:, : box[0] - 2].max() < 60


def test_real_crowds_empty_and_gray_images(shared_data: Path, opens: Opens) -> None:
    dataset = opens(shared_data / "coco60")
    records = [r for split in ("train", "val") for r in dataset.images(split)]
    assert dataset.info.splits == {"train": 33, "val": 27}
    assert sum(int(r.crowd.sum()) for r in records) == 5
    assert sum(not len(r.boxes) for r in records) == 1
    assert dataset.info.channels == 3
    assert sum(a["iscrowd"] for a in dataset.coco("train")["annotations"]) == 3
    assert any("layouts found: coco, yolo; coco is used" in note for note in dataset.info.notes)
    assert any("instances_train_source_ids.json is not used" in note for note in dataset.info.notes)


def test_real_sparse_source_ids(shared_data: Path, opens: Opens, tmp_path: Path) -> None:
    source = tmp_path / "coco.yaml"
    text = f"root: {shared_data / 'coco60'}\nformat: coco\n"
    source.write_text(
        text + "train: annotations/instances_train_source_ids.json\nval: annotations/instances_val.json\n"
    )
    both = opens(source)
    assert any("names decide" in note for note in both.info.notes)
    source.write_text(text + "train: annotations/instances_train_source_ids.json\n")
    plain = opens(shared_data / "coco60")
    named = [[plain.info.classes[i] for r in plain.images("val") for i in r.labels]]
    assert named == [[both.info.classes[i] for r in both.images("val") for i in r.labels]]
    sparse = opens(source)
    assert sparse.info.classes == plain.info.classes
    assert "of the stated training images by content for val" in sparse.info.split_rule
    by_name = {r.path.name: r for s in ("train", "val") for r in sparse.images(s)}
    for record in plain.images("train"):
        np.testing.assert_allclose(by_name[record.path.name].boxes, record.boxes, atol=0.02)
        np.testing.assert_array_equal(by_name[record.path.name].labels, record.labels)


def test_pycocotools_reads_the_ground_truth(shared_data: Path, opens: Opens) -> None:
    from pycocotools.coco import COCO

    truth = opens(shared_data / "bccd").coco("test")
    coco = COCO()
    coco.dataset = truth
    coco.createIndex()
    original = json.loads((shared_data / "bccd/annotations/instances_test.json").read_text())
    assert len(coco.getAnnIds()) == len(original["annotations"]) == 945
    ours = sorted((a["image_id"], a["category_id"], *map(round, a["bbox"])) for a in truth["annotations"])
    theirs = sorted((a["image_id"], a["category_id"], *a["bbox"]) for a in original["annotations"])
    assert ours == theirs
