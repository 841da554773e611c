"""What `open_data` refuses, by message."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from nasdet.data import Dataset
from nasdet.errors import InputError

Opens = Callable[..., Dataset]


def source(folder: Any, text: str) -> Path:
    folder.write()
    path = folder.root / "set.yaml"
    path.write_text(text)
    return path


YAMLS = [
    ("formt: coco", r"unknown key 'formt'; did you mean 'format'\?"),
    ("format: kitti", r"set\.yaml: format: Input should be 'coco', 'voc' or 'yolo', got 'kitti'"),
    ("root: nowhere", r"set\.yaml: root: no folder '.*nowhere'"),
    ("train: [1", r"set\.yaml:1: is not valid YAML"),
    ("- a", r"set\.yaml: holds no keys"),
    ("train: missing.json", r"set\.yaml: train: no such file '.*missing\.json'"),
    ("images: missing", r"set\.yaml: images: no folder '.*missing'"),
    ("channels: 4", r"set\.yaml: channels: 4 channels wanted, but 3 channels in im\d+\.png"),
    ("bits: 16", r"set\.yaml: bits: 16 bits wanted, but 8 bits in"),
    ("bits: 12", r"set\.yaml: bits: Input should be 8 or 16"),
    ("group: {regex: '(P', }", r"set\.yaml: group: regex '\(P' is wrong"),
    ("group: {}", r"set\.yaml: group: needs exactly one of regex, field, csv"),
    ("group: {regex: 'P(\\d)'}", r"group\.regex: no group: .* does not match im001\.png"),
    ("group: {field: patient}", r"image 1 has no field 'patient', which `group` names"),
    ("group: {csv: groups.csv}", r"groups\.csv: no such file"),
    ("group: {csv: g.csv, image: file}", r"g\.csv: no column 'file'; known: group, image"),
    ("group: {csv: g.csv}", r"no group: the table has no row for images/im\d+\.png"),
    ("split: [0.5, 0.5]", r"set\.yaml: split"),
    ("max_bad: 2", r"set\.yaml: max_bad: Input should be less than or equal to 1, got 2"),
    ("format: voc", r"no VOC annotation file \(\*\.xml\)"),
]


@pytest.mark.parametrize(("text", "message"), YAMLS)
def test_data_yaml(coco_folder: Any, opens: Opens, text: str, message: str) -> None:
    (coco_folder.root / "g.csv").write_text("image,group\nother.png,1\n")
    with pytest.raises(InputError, match=message):
        opens(source(coco_folder, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"instances\.json:1:2: is not valid JSON"),
        ("[]", r"no COCO annotation file: instances\.json .*holds no JSON object"),
        ('{"images": []}', r"no COCO annotation file: instances\.json \(no list 'annotations', 'categories'\)"),
        ('{"images": [], "annotations": [], "categories": []}', r"instances\.json: no categories"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', r"no images"),
        ('{"images": [], "annotations": [], "categories": [{"name": "a"}]}', r"a category needs a whole id and a name"),
        ('{"images": [{}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', r"an image needs an id"),
    ],
)
def test_coco_file(tmp_path: Path, opens: Opens, text: str, message: str) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances.json").write_text(text)
    with pytest.raises(InputError, match=message):
        opens(tmp_path)


def test_binary_annotation_file(tmp_path: Path, opens: Opens) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match=r"a\.json: is not a text file"):
        opens(tmp_path)


def test_no_such_source(tmp_path: Path, opens: Opens) -> None:
    with pytest.raises(InputError, match=r"no data set 'digitz'; give 'digits', a folder, or a YAML"):
        opens("digitz")
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(InputError, match=r"\.zip is not a data set"):
        opens(tmp_path / "a.zip")


def test_no_layout_lists_what_was_looked_for(tmp_path: Path, opens: Opens) -> None:
    with pytest.raises(InputError, match=r"no known layout .0 images, but none of these: COCO .*VOC .*YOLO"):
        opens(tmp_path)


def test_unknown_split(digits: Dataset) -> None:
    with pytest.raises(InputError, match="no split 'valid'; the splits are train, val, test"):
        digits.images("valid")


def test_channels_differ(coco_folder: Any, opens: Opens) -> None:
    tifffile.imwrite(coco_folder.root / "images" / "four.tif", np.zeros((40, 60, 4), np.uint8))
    coco_folder.content["images"].append({"id": 50, "file_name": "four.tif", "width": 60, "height": 40})
    with pytest.raises(
        InputError, match=r"images differ in channels: 3 channels in im\d+\.png, 4 channels in four\.tif"
    ):
        opens(coco_folder.write())


def test_bits_differ(coco_folder: Any, opens: Opens) -> None:
    tifffile.imwrite(coco_folder.root / "images" / "deep.tif", np.zeros((40, 60, 3), np.uint16), photometric="rgb")
    coco_folder.content["images"].append({"id": 50, "file_name": "deep.tif", "width": 60, "height": 40})
    with pytest.raises(InputError, match=r"images differ in bits: 8 bits in im\d+\.png, 16 bits in deep\.tif"):
        opens(coco_folder.write())


def test_all_images_missing(coco_folder: Any, opens: Opens) -> None:
    root = coco_folder.write()
    for path in (root / "images").iterdir():
        path.unlink()
    with pytest.raises(
        InputError, match=r"no image can be read: missing image 20x, such as instances\.json: im001\.png"
    ):
        opens(root)


def test_no_boxes(coco_folder: Any, opens: Opens) -> None:
    coco_folder.content["annotations"] = []
    with pytest.raises(InputError, match="no usable box in split 'train'"):
        opens(coco_folder.write())


def test_only_a_test_split(coco_folder: Any, opens: Opens) -> None:
    with pytest.raises(InputError, match="no training images; found test only"):
        opens(coco_folder.write("annotations/instances_test.json"))


def test_files_that_name_no_split(coco_folder: Any, opens: Opens) -> None:
    coco_folder.write("annotations/a.json")
    with pytest.raises(InputError, match=r"several annotation files, and none names its split: a\.json, b\.json"):
        opens(coco_folder.write("annotations/b.json"))


def test_categories_disagree(coco_folder: Any, opens: Opens) -> None:
    coco_folder.write("annotations/instances_train.json")
    coco_folder.content["categories"][0]["name"] = "else"
    with pytest.raises(InputError, match="category 3 is 'else' here and 'cell' in another entry"):
        opens(coco_folder.write("annotations/instances_val.json"))


def test_class_name_with_two_ids(coco_folder: Any, opens: Opens) -> None:
    coco_folder.content["categories"][0]["name"] = "dust"
    with pytest.raises(InputError, match="category name 'dust' has several ids"):
        opens(coco_folder.write())


def test_one_group_cannot_be_split(coco_folder: Any, opens: Opens) -> None:
    with pytest.raises(InputError, match="20 images of one group or content cannot be split into train and val"):
        opens(source(coco_folder, "group: {regex: im}"))


def test_damaged_xml(tmp_path: Path, opens: Opens) -> None:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text("<annotation><object></annotation>")
    with pytest.raises(InputError, match=r"a\.xml: is not valid XML \(mismatched tag"):
        opens(tmp_path)


YOLO = [
    ("train: images\n", r"no key 'names'"),
    ("train: pictures\nnames: [a]\n", r"train: no such folder or list 'pictures'"),
]


@pytest.mark.parametrize(("text", "message"), YOLO)
def test_yolo_yaml(tmp_path: Path, opens: Opens, text: str, message: str) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        opens(tmp_path)


def test_cache_that_cannot_be_written(coco_folder: Any, tmp_path: Path) -> None:
    from nasdet.data import open_data

    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"the cache cannot be written .* set NASDET_HOME"):
        open_data(coco_folder.write(), cache_root=tmp_path / "file")


def test_messages_are_one_line(coco_folder: Any, opens: Opens) -> None:
    for text, _ in YAMLS:
        with pytest.raises(InputError) as caught:
            opens(source(coco_folder, text))
        assert "\n" not in str(caught.value), json.dumps(str(caught.value))
