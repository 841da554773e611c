"""The COCO layout: where files are found, sparse ids, crowds, rotation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nasdet.data import Dataset
from nasdet.errors import InputError

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


def split_in_two(folder: Any, train: str, val: str, **changes: Any) -> Path:
    """Write the first 15 images and the last 5 as files of their own."""
    images, annotations = folder.content["images"], folder.content["annotations"]
    for name, part in ((train, images[:15]), (val, images[15:])):
        ids = {entry["id"] for entry in part}
        own = [a for a in annotations if a["image_id"] in ids]
        folder.content = {**folder.content, "images": part, "annotations": own, **changes}
        folder.write(name)
    return folder.root


@pytest.mark.parametrize(
    ("train", "val", "train_images", "val_images"),
    [
        ("annotations/train.json", "annotations/val.json", "train/images", "val/images"),
        ("train/annotations.json", "val/annotations.json", "train/images", "val/images"),
        ("train/labels.json", "validation/labels.json", "train/data", "validation/data"),  # FiftyOne, a folder a split
        ("train/annotations/instances.json", "valid/annotations/instances.json", "train", "valid"),
        ("Annotations/instances_train.json", "Annotations/instances_val.json", "scans/a", "scans/b"),
        ("cells/train/_annotations.coco.json", "cells/valid/_annotations.coco.json", "cells/train", "cells/valid"),
        ("annotations/instances_trainval.json", "annotations/instances_test.json", "images", "images/test"),
    ],
)
def test_layouts_of_the_tools(
    coco_folder: Any, opens: Opens, train: str, val: str, train_images: str, val_images: str
) -> None:
    root = split_in_two(coco_folder, train, val)
    for number, path in enumerate(sorted((root / "images").glob("*.png"))):
        target = root / (train_images if number < 15 else val_images)
        target.mkdir(parents=True, exist_ok=True)
        path.rename(target / path.name)
    (root / ".DS_Store").write_bytes(b"\0\1Bud1")
    for name in (train, val):
        (root / name).with_name(f"._{Path(name).name}").write_bytes(b"\0\5\x16\7\xb0")
    dataset = opens(root)
    wanted = {"train": 15, "val": 5} if "test" not in val else {"train": 13, "val": 2, "test": 5}
    assert dataset.info.splits == wanted
    assert sum(len(r.boxes) for s in wanted for r in dataset.images(s)) == 100
    assert not dataset.info.defects


@pytest.mark.parametrize("place", ["data", "images/default"])
def test_one_file_with_images_where_tools_put_them(coco_folder: Any, opens: Opens, place: str) -> None:
    root = coco_folder.write("labels.json" if place == "data" else "annotations/instances_default.json")
    (root / place).mkdir(parents=True)
    for path in list((root / "images").glob("*.png")):
        path.rename(root / place / path.name)
    info = opens(root).info
    assert sum(info.splits.values()) == 20 and info.notes == ()


def test_how_images_were_found_is_noted(coco_folder: Any, opens: Opens) -> None:
    for entry in coco_folder.content["images"]:
        entry["file_name"] = f"..\\..\\label-studio\\upload\\{entry['file_name']}"
    info = opens(coco_folder.write("result.json")).info
    assert sum(info.splits.values()) == 20
    (note,) = info.notes
    assert note.startswith("20 images found by their name alone, which is unique below the folder: ")
    assert note.endswith("..\\..\\label-studio\\upload\\im001.png is images/im001.png")


def as_text(value: Any) -> Any:
    return str(value)


IDS = {
    "floats": (float, float, float),
    "images as text": (as_text, int, int),
    "annotations as text": (int, as_text, as_text),
    "all as text": (as_text, as_text, as_text),
    "large": (lambda i: 2**64 + i, lambda i: 2**64 + i, int),
    "negative": (lambda i: -i, lambda i: str(-i), int),
}


@pytest.mark.parametrize("case", IDS)
def test_ids_of_any_type_that_agree(coco_folder: Any, opens: Opens, case: str) -> None:
    plain = opens(coco_folder.write())
    image, of_image, category = IDS[case]
    for entry in coco_folder.content["images"]:
        entry["id"] = image(entry["id"])
    for entry in coco_folder.content["annotations"]:
        entry["image_id"], entry["category_id"] = of_image(entry["image_id"]), category(entry["category_id"])
    again = opens(coco_folder.write())
    assert again.info.defects == () and again.info.fingerprint == plain.info.fingerprint
    assert all(-(2**63) <= r.id < 2**63 for s in again.info.splits for r in again.images(s))


BOXES = {
    "numbers as text": (lambda b: {"bbox": [str(v) for v in b]}, False),
    "one text": (lambda b: {"bbox": str(b)}, False),
    "polygon only": (lambda b: {"segmentation": [polygon(b)]}, True),
    "null and polygon": (lambda b: {"bbox": None, "segmentation": [polygon(b)]}, True),
    "zeros and polygon": (lambda b: {"bbox": [0, 0, 0, 0], "segmentation": [polygon(b)]}, True),
    "runs only": (lambda b: {"segmentation": runs(b, compressed=False), "iscrowd": 0}, True),
    "compressed runs only": (lambda b: {"segmentation": runs(b, compressed=True), "iscrowd": "0"}, True),
    "no further fields": (lambda b: {"bbox": b, "iscrowd": None, "area": None, "segmentation": None}, False),
    "odd fields": (lambda b: {"bbox": b, "iscrowd": False, "area": "x", "ignore": 0}, False),
}


def polygon(box: list[float]) -> list[float]:
    x, y, w, h = box
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def runs(box: list[float], *, compressed: bool) -> dict[str, Any]:
    from pycocotools import mask

    pixels = np.zeros((40, 60), np.uint8, order="F")
    x, y, w, h = map(int, box)
    pixels[y : y + h, x : x + w] = 1
    if compressed:
        code = mask.encode(pixels)
        return {"size": [40, 60], "counts": code["counts"].decode()}
    flat = np.concatenate([[0], pixels.ravel("F"), [2]])
    ends = np.flatnonzero(np.diff(flat.astype(int)))
    return {"size": [40.0, 60.0], "counts": np.diff([0, *ends]).tolist()}


@pytest.mark.parametrize("case", BOXES)
def test_boxes_in_all_forms(coco_folder: Any, opens: Opens, case: str) -> None:
    form, masks = BOXES[case]
    plain = opens(coco_folder.write())
    for entry in coco_folder.content["annotations"]:
        entry |= {"bbox": None, **form(entry["bbox"])}
    again = opens(coco_folder.write())
    assert again.info.defects == () and again.info.masks == masks
    for split in plain.info.splits:
        for ours, theirs in zip(plain.images(split), again.images(split), strict=True):
            np.testing.assert_array_equal(ours.boxes, theirs.boxes)
            assert not theirs.crowd.any()


@pytest.mark.parametrize("size", [(-1, -1), (0, 0), ("60", "40"), (None, 40), (1e400, 40), ("x", 40), (60.0, 40.0)])
def test_sizes_that_say_nothing_are_passed_over(coco_folder: Any, opens: Opens, size: tuple[Any, Any]) -> None:
    for entry in coco_folder.content["images"]:
        entry["width"], entry["height"] = size
    assert opens(coco_folder.write()).info.defects == ()


HUGE = 10**400


@pytest.mark.parametrize(
    "entry",
    [{"bbox": [HUGE, 1, 2, 3]}, {"bbox": "1 2 3"}, {"bbox": {"x": 1}}, {"bbox": [[1, 2, 3, 4]]},
     {"bbox": [True, 1, 2, 3]}, {"bbox": ["a", "b", "c", "d"]}, {"image_id": [1]}, {"image_id": None},
     {"image_id": "\ud800"}, {"category_id": {}}, {"category_id": HUGE}, 5, None, [], "x"],
)  # fmt: skip
def test_values_of_wrong_types_are_counted(coco_folder: Any, opens: Opens, entry: Any) -> None:
    base = {"id": 999, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}
    coco_folder.content["annotations"].append({**base, **entry} if isinstance(entry, dict) else entry)
    defects = opens(coco_folder.write()).info.defects
    assert [(d.count, d.action) for d in defects] == [(1, "skipped")]
    str(defects).encode()


@pytest.mark.parametrize(
    "entry", [{"area": HUGE}, {"area": "12"}, {"iscrowd": "no"}, {"segmentation": []}, {"id": HUGE}]
)
def test_odd_values_that_do_no_harm(coco_folder: Any, opens: Opens, entry: Any) -> None:
    annotation = {"id": 999, "image_id": 1, "category_id": 3, "bbox": [20, 25, 10, 10], **entry}
    coco_folder.content["annotations"].append(annotation)
    assert opens(coco_folder.write()).info.defects == ()


@pytest.mark.parametrize("mark", [{"iscrowd": 1}, {"iscrowd": "1"}, {"iscrowd": True}, {"ignore": 1}])
def test_ignored_objects(coco_folder: Any, opens: Opens, mark: dict[str, Any]) -> None:
    coco_folder.annotate(1, [20, 25, 10, 10], **mark)
    dataset = opens(coco_folder.write())
    assert sum(int(r.crowd.sum()) for s in dataset.info.splits for r in dataset.images(s)) == 1


@pytest.mark.parametrize("annotations", [None, "absent", []])
def test_a_test_split_without_annotations_is_told(coco_folder: Any, opens: Opens, annotations: Any) -> None:
    root = split_in_two(coco_folder, "annotations/instances_train.json", "annotations/instances_test.json")
    path = root / "annotations/instances_test.json"
    content = json.loads(path.read_text())
    content["annotations"] = annotations
    if annotations == "absent":
        del content["annotations"]
    path.write_text(json.dumps(content))
    notes = opens(root).info.notes
    if annotations == []:
        assert notes == ("instances_test.json lists 5 images and no annotation",)
    else:
        wanted = "instances_test.json (no list 'annotations', 5 images)"
        assert notes == (f"not used, because they hold no annotated boxes: {wanted}",)


def test_json_of_something_else_is_no_layout(few_digits_in: dict[str, Path], opens: Opens, tmp_path: Path) -> None:
    """Images without annotations, as predictions are made for, and the notes of Label Studio's YOLO export."""
    root = Path(shutil.copytree(few_digits_in["yolo"], tmp_path / "set"))
    (root / "image_info.json").write_text('{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": []}')
    (root / "notes.json").write_text('{"categories": [{"id": 1, "name": "a"}], "info": {"year": 2024}}')
    assert opens(root).info.layout == "yolo"


def test_trainval_is_train_and_val_a_part_of_it(coco_folder: Any, opens: Opens) -> None:
    root = split_in_two(coco_folder, "annotations/instances_train_val.json", "annotations/instances_val.json")
    path = root / "annotations/instances_val.json"
    (root / "annotations/instances_train_val.json").write_text(path.read_text())
    info = opens(root).info
    assert info.splits == {"train": 4, "val": 1}
    assert info.notes == (
        "instances_train_val.json is taken for train",
        "instances_val.json is not used: its images are in instances_train_val.json",
    )


def test_instances_go_before_other_files_of_no_split(coco_folder: Any, opens: Opens) -> None:
    """As Datumaro and CVAT export: `image_info_default.json` and `stuff_default.json` beside the boxes."""
    root = coco_folder.write("annotations/instances_default.json")
    coco_folder.content["annotations"] = []
    for name in ("image_info_default", "stuff_default"):
        coco_folder.write(f"annotations/{name}.json")
    dataset = opens(root)
    assert sum(len(r.boxes) for split in dataset.info.splits for r in dataset.images(split)) == 100
    assert "stuff_default.json is not used: instances_default.json is taken for all images" in dataset.info.notes


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_json_in_other_encodings(coco_folder: Any, opens: Opens, encoding: str) -> None:
    coco_folder.content["categories"][0]["name"] = "Zelle ü 漢"
    path = coco_folder.write("instances.json") / "instances.json"
    text = json.dumps(coco_folder.content, ensure_ascii=False)
    path.write_bytes(text.encode(encoding))
    if encoding == "utf-16-le":  # no mark says so
        with pytest.raises(InputError, match=r"instances\.json"):
            opens(coco_folder.root)
    else:
        assert opens(coco_folder.root).info.classes[0] == "Zelle ü 漢"


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
