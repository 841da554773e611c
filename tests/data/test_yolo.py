"""Folders in YOLO layout as tools export them: every one opens with the same boxes, or says what is wrong."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from nasdet.data import Dataset
from nasdet.errors import InputError
from tests.data.yolo_sets import NAMES, SPLITS, assert_right, write_image, write_set

Opens = Callable[..., Dataset]
SPLIT_YAML = "train: {}\nval: {}\n" + NAMES


TOOLS = {
    "valid": ("path: .\ntrain: images/train\nvalid: images/val\nnc: '3'\n" + NAMES, "images/{}", "labels/{}"),
    "roboflow": (SPLIT_YAML.format("../train/images", "../val/images"), "{}/images", "{}/labels"),
    "named": (SPLIT_YAML.format("cells-1/train/images", "cells-1/val/images"), "{}/images", "{}/labels"),
    "capitals": (SPLIT_YAML.format("train/images", "val/images"), "{}/Images", "{}/Labels"),
    "windows": ("path: C:\\me\ntrain: images\\train\nval: images\\val\n" + NAMES, "images/{}", "labels/{}"),
    "quoted": (SPLIT_YAML.format('"C:\\new\\train\\images"', '"..\\val\\images"'), "{}/images", "{}/labels"),
    "colab": (SPLIT_YAML.format("/content/data/train/images", "/content/data/val/images"), "{}/images", "{}/labels"),
    "ultralytics": (
        "path: ../datasets/cells\n" + SPLIT_YAML.format("images/train", "images/val"), "images/{}", "labels/{}"
    ),
    "beside": (SPLIT_YAML.format("images/train", "images/val"), "images/{}", "images/{}"),
    "inside": (SPLIT_YAML.format("train", "val"), "{}", "{}/labels"),
    "sibling": (SPLIT_YAML.format("train/frames", "val/frames"), "{}/frames", "{}/labels"),
    "one folder": (SPLIT_YAML.format("images/train", "images/val"), "images/{}", "labels"),
    "elsewhere": (SPLIT_YAML.format("images/train", "images/val"), "images/{}", "annotations/{}"),
    "tabs": (
        "train:\timages/train\nval:\timages/val\nnames:\n\t0: cell\n\t1: dust\n\t2: hair\n", "images/{}", "labels/{}"
    ),
    "by name": (
        "train: images/train\nval: images/val\nnames: {cell: 0, dust: 1, hair: 2}\n", "images/{}", "labels/{}"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("yaml", "images", "labels"), TOOLS.values(), ids=TOOLS)
def test_layouts_of_tools(tmp_path: Path, opens: Opens, yaml: str, images: str, labels: str) -> None:
    root = write_set(tmp_path / "images" / "set", yaml, images=images, labels=labels)
    for source in (root, root / "data.yaml"):
        dataset = opens(source)
        assert dataset.info.splits == SPLITS and dataset.info.classes == ("cell", "dust", "hair")
        assert_right(dataset)


@pytest.mark.parametrize("labels", ["labels/{}", "images/{}"])
def test_split_folders_without_yaml(tmp_path: Path, opens: Opens, labels: str) -> None:
    root = write_set(tmp_path / "set", None, labels=labels)
    (root / "classes.txt").write_bytes(b"cell\r\ndust\r\nhair\r\n")
    dataset = opens(root)
    assert dataset.info.splits == SPLITS and dataset.info.classes == ("cell", "dust", "hair")
    assert_right(dataset)


def test_darknet_of_roboflow(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set", None, images="{}", labels="{}")
    for split in SPLITS:
        (root / split / "_darknet.labels").write_text("cell\ndust\nhair\n")
    (root / "README.roboflow.txt").write_text("cells\n")
    dataset = opens(root)
    assert dataset.info.splits == SPLITS and dataset.info.classes == ("cell", "dust", "hair")
    assert_right(dataset)


def test_labels_in_a_folder_of_any_name(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set", None, images="pictures/{}", labels="txt/{}")
    dataset = opens(root)
    assert dataset.info.splits == SPLITS
    assert dataset.info.notes[:2] == tuple(f"{s}: label files were found by their names in txt/{s}" for s in SPLITS)
    assert_right(dataset)


@pytest.mark.parametrize("folder", [".", "unpacked/here"])
def test_labelimg_writes_rows_beside_images(tmp_path: Path, opens: Opens, folder: str) -> None:
    root = write_set(tmp_path / "set" / folder, None, images=".", labels=".")
    (root / "classes.txt").write_text("cell\ndust\nhair\n")
    dataset = opens(tmp_path / "set")
    assert dataset.info.layout == "yolo" and dataset.info.classes == ("cell", "dust", "hair")
    assert_right(dataset)


def test_label_studio(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set", None, images="images", labels="labels")
    (root / "classes.txt").write_text("cell\ndust\nhair\n")
    (root / "notes.json").write_text('{"categories": [{"id": 0, "name": "cell"}], "info": {"year": 2024}}')
    assert_right(opens(root))


@pytest.mark.parametrize("source", ["set", "set.yaml"])
def test_cvat_lists_with_a_prefix(tmp_path: Path, opens: Opens, source: str) -> None:
    root = write_set(tmp_path / "set", None, images="obj_train_data", labels="obj_train_data")
    (root / "obj.names").write_text("cell\ndust\nhair\n")
    (root / "obj.data").write_text("classes = 3\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    names = [f"{split}{number}.png" for split, count in SPLITS.items() for number in range(count)]
    (root / "train.txt").write_text("".join(f"data/obj_train_data/{name}\n" for name in names))
    (tmp_path / "set.yaml").write_text("format: yolo\nroot: set\ntrain: train.txt\nclasses: [cell, dust, hair]\n")
    dataset = opens(tmp_path / source)
    assert_right(dataset)
    assert dataset.info.notes == ("train.txt: 9 of 9 images were found by the last parts of their paths",)


@pytest.mark.parametrize(
    "prefix", ["data/images/", "./images/", "D:\\me\\images\\", "/home/me/set/images/", "somewhere/"]
)
def test_lists_of_images(tmp_path: Path, opens: Opens, prefix: str) -> None:
    root = write_set(tmp_path / "set", "train: train.txt\nval: val.txt\n" + NAMES, suffix=".JPG")
    for split, count in SPLITS.items():
        folder = f"{split}/".replace("/", "\\") if "\\" in prefix else f"{split}/"
        lines = [f"{prefix}{folder}{split}{n}.jpg" for n in range(count)]
        (root / f"{split}.txt").write_text("\n".join(lines))
    dataset = opens(root)
    assert dataset.info.splits == SPLITS
    assert not dataset.info.defects
    assert sum(len(r.boxes) for split in SPLITS for r in dataset.images(split)) == 36


def test_lists_without_yaml(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set", None, images="images", labels="labels")
    for split, count in SPLITS.items():
        (root / f"{split}.txt").write_text("".join(f"images/{split}{n}.png\n" for n in range(count)))
    dataset = opens(root)
    assert dataset.info.splits == SPLITS
    assert_right(dataset)


def test_a_list_of_images_that_are_not_there(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set", "train: train.txt\nval: images/val\n" + NAMES)
    (root / "train.txt").write_text("other/1.jpg\nother/2.jpg\n")
    with pytest.raises(
        InputError, match=r"train.txt: none of the 2 images that it lists is there; looked for 'other/1"
    ):
        opens(root)


def test_a_test_split_that_is_named_but_absent_is_noted(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set", SPLIT_YAML.format("../train/images", "../val/images") + "test: ../test/images\n",
                     images="{}/images", labels="{}/labels")  # fmt: skip
    (root / "images").mkdir()
    write_image(root / "images/no-test.png", 1)
    dataset = opens(root)
    assert dataset.info.splits == SPLITS
    assert "test is not there (looked for '../test/images'" in dataset.info.notes[0]


def test_a_test_split_without_labels_is_left_out_with_a_note(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set", SPLIT_YAML.format("images/train", "images/val") + "test: images/test\n")
    write_image(root / "images/test/1.png", 1)
    dataset = opens(root)
    assert_right(dataset)
    assert dataset.info.notes[0].startswith(
        "test: none of its 1 images has a label file, the split is left out; looked for"
    )


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("train: images/train\nval: ../valid/images\n", "val: no such folder or list '../valid/images'; looked for"),
        ("train: images/train\nval: images/empty\n", "val: no images; looked at 'images/empty' in"),
        ("train: {a: 1}\nval: images/val\n", "train: needs a folder, a list file, or a list of these"),
    ],
)
def test_parts_that_are_missing(tmp_path: Path, opens: Opens, yaml: str, message: str) -> None:
    root = write_set(tmp_path / "set", yaml + NAMES)
    (root / "images/empty").mkdir()
    with pytest.raises(InputError) as error:
        opens(root)
    assert message in str(error.value)


def test_no_image_has_a_label_file(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set")
    shutil.rmtree(root / "labels/val")
    with pytest.raises(InputError) as error:
        opens(root)
    assert (
        "none of the 3 images of val has a label file; looked for labels/val/val0.txt and images/val/val0.txt"
        in str(error.value)
    )


def test_images_without_label_file_are_counted(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set")
    for number in (1, 2):
        (root / f"labels/train/train{number}.txt").unlink()
    shutil.move(root / "labels/train/train3.txt", root / "images/train")  # beside its image
    dataset = opens(root)
    assert [len(r.boxes) for r in dataset.images("train")] == [4, 0, 0, 4, 4, 4]
    assert dataset.info.notes[0].startswith(
        "train: 2 of 6 images have no label file and count as images without objects; looked for labels/train/tr"
    )


def test_val_that_is_train_is_noted(tmp_path: Path, opens: Opens) -> None:
    dataset = opens(write_set(tmp_path / "set", SPLIT_YAML.format("images/train", "images/train")))
    assert dataset.info.notes == ("val: all of them belong to an earlier split already, and count there",)
    assert dataset.info.split_rule.startswith("15% of the stated training images")


@pytest.mark.parametrize("yaml", [None, SPLIT_YAML.format("images/train", "images/val")])
@pytest.mark.parametrize("files", [False, True])
def test_links(tmp_path: Path, opens: Opens, yaml: str | None, files: bool) -> None:
    root = write_set(tmp_path / "set", yaml)
    (root / "classes.txt").write_text("cell\ndust\nhair\n")
    for split in SPLITS:
        folder = root / "images" / split
        for path in sorted(folder.iterdir()) if files else [folder]:
            target = tmp_path / "elsewhere" / f"{split}-{path.name}"
            target.parent.mkdir(exist_ok=True)
            shutil.move(path, target)
            path.symlink_to(target)
    dataset = opens(root)
    assert dataset.info.splits == SPLITS
    assert_right(dataset)


def test_files_of_macos_and_composed_names(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set")
    for path in list(root.rglob("*.*")):
        if path.is_file():
            path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\xb0")
            (path.parent / ".DS_Store").write_bytes(b"\x00\x01Bud1")
    image, label = root / "images/train/train0.png", root / "labels/train/train0.txt"
    image.rename(image.with_name(unicodedata.normalize("NFC", "Zellé.png")))
    label.rename(label.with_name(unicodedata.normalize("NFD", "Zellé.txt")))
    dataset = opens(root)
    assert not dataset.info.defects and not dataset.info.notes
    assert all(len(r.boxes) == 4 for split in SPLITS for r in dataset.images(split))


def test_images_that_share_a_label_file(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set")
    write_image(root / "images/train/train0.jpg", 77)
    defects = opens(root).info.defects
    assert [(d.kind, d.count, d.action) for d in defects] == [("label file of several images", 1, "reported")]
    assert defects[0].examples == ("train0.txt: train0.jpg and train0.png",)


def test_nothing_outside_the_folder_is_read(tmp_path: Path, opens: Opens) -> None:
    outside = write_set(tmp_path / "outside")
    root = write_set(tmp_path / "set")
    for yaml in (
        SPLIT_YAML.format(outside / "images/train", "../outside/images/val"),
        f"path: {outside}\n" + SPLIT_YAML.format("images/train", "images/val"),
    ):
        (root / "data.yaml").write_text(yaml)
        dataset = opens(root)
        assert all(r.path.is_relative_to(root) for split in SPLITS for r in dataset.images(split))
    (root / "data.yaml").write_text("train: train.txt\nval: images/val\n" + NAMES)
    (root / "train.txt").write_text(f"../outside/images/train/only.png\n{root}/images/train/train1.png\n")
    write_image(outside / "images/train/only.png", 5)
    with pytest.raises(InputError, match="missing image 1x"):
        opens(root)


def test_the_path_of_a_yaml_that_the_user_names_is_followed(tmp_path: Path, opens: Opens) -> None:
    write_set(tmp_path / "cells", None)
    (tmp_path / "config").mkdir()
    for path in ("../cells", str(tmp_path / "cells")):
        source = tmp_path / "config" / "cells.yaml"
        source.write_text(f"path: {path}\n" + SPLIT_YAML.format("images/train", "images/val"))
        assert_right(opens(source))


def test_pictures_outside_images_count_only_with_labels(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set", None)
    (root / "classes.txt").write_text("cell\ndust\nhair\n")
    write_image(root / "plots/curve.png", 1)
    dataset = opens(root)
    assert_right(dataset)
    assert dataset.info.notes == ("1 images outside images/ that have no label file are left out",)


def test_a_folder_without_annotations_says_so(tmp_path: Path, opens: Opens) -> None:
    write_image(tmp_path / "set/images/1.png", 1)
    with pytest.raises(InputError, match=r"no known layout .1 images, but none of these: COCO"):
        opens(tmp_path / "set")
    root = write_set(tmp_path / "other")
    with pytest.raises(InputError, match=f"the labels seem to lie beside it: give {root}$"):
        opens(root / "images")


def test_a_folder_of_images_that_the_user_names(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set", None, images="pictures/{}", labels="pictures/{}")
    write_set(root / "old", None)
    (tmp_path / "set.yaml").write_text("format: yolo\nroot: set\nimages: pictures\nclasses: [cell, dust, hair]\n")
    assert_right(opens(tmp_path / "set.yaml"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "set.yaml").write_text("format: yolo\nroot: set\nimages: ../elsewhere\nclasses: [cell, dust, hair]\n")
    with pytest.raises(InputError, match=r"'../elsewhere' is not in .*set; let `root` be a folder above it"):
        opens(tmp_path / "set.yaml")
