"""The VOC layout: where files and images are found, lists, faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from nasdet.data import Dataset
from nasdet.errors import InputError
from tests.data.conftest import random_image

Opens = Callable[..., Dataset]


def xml(name: str, label: str = "cell", *, inner: str = "", difficult: int = 0) -> str:
    box = inner or "<bndbox><xmin>5</xmin><ymin>6</ymin><xmax>25</xmax><ymax>30</ymax></bndbox>"
    return (
        f"<annotation><filename>{name}</filename><size><width>60</width><height>40</height></size>"
        f"<object><name>{label}</name><difficult>{difficult}</difficult>{box}</object></annotation>"
    )


def put(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def make(
    root: Path, annotations: str = "Annotations", images: str = "JPEGImages", count: int = 12, suffix: str = ".png",
    **more: str,
) -> Path:  # fmt: skip
    """A set of 8 training and 4 validation images; `{s}` in a folder stands for the split."""
    for number in range(count):
        split = "train" if number < 2 * count / 3 else "val"
        name = f"im {number}{suffix}"
        picture = root / images.format(s=split) / name
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random_image(number)).save(picture)
        put(root / annotations.format(s=split) / f"im {number}.xml", xml(name, **more))
    return root


def lists(root: Path, lines: Callable[[int], str], newline: str = "\n") -> Path:
    for split, numbers in (("train", range(8)), ("val", range(8, 12))):
        put(root / f"ImageSets/Main/{split}.txt", newline.join(map(lines, numbers)) + newline)
    return root


@pytest.mark.parametrize(
    ("annotations", "images", "stated"),
    [
        ("Annotations", "JPEGImages", False),
        ("annotations", "images", False),
        ("xmls", "images", False),
        ("annotation", "data", False),
        ("VOCdevkit/VOC2007/Annotations", "VOCdevkit/VOC2007/JPEGImages", False),
        ("images", "images", False),
        ("labels", "somewhere/else", False),
        ("{s}/Annotations", "{s}/JPEGImages", True),
        ("{s}/annotations", "{s}/images", True),
        ("Annotations/{s}", "JPEGImages/{s}", True),
        ("cells/Annotations/{s}", "cells/images/{s}", True),
        ("{s}", "{s}", True),
        ("{s}/xmls", "all", True),
    ],
)
def test_layouts(tmp_path: Path, opens: Opens, annotations: str, images: str, stated: bool) -> None:
    info = opens(make(tmp_path, annotations, images)).info
    assert info.layout == "voc" and info.defects == ()
    assert info.splits == ({"train": 8, "val": 4} if stated else {"train": 8, "val": 2, "test": 2})


def test_equal_names_in_the_folders_of_two_splits(tmp_path: Path, opens: Opens) -> None:
    for part, first in (("train", 0), ("val", 20)):
        for number in range(4):
            picture = tmp_path / part / "JPEGImages" / f"{number}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random_image(first + number)).save(picture)
            put(tmp_path / part / "Annotations" / f"{number}.xml", xml(f"{number}.png", part))
    dataset = opens(tmp_path)
    for split in ("train", "val"):
        assert {r.path.parent.parent.name for r in dataset.images(split)} == {split}
        assert {dataset.info.classes[i] for r in dataset.images(split) for i in r.labels} == {split}


def test_pictures_of_segments_are_not_taken(tmp_path: Path, opens: Opens) -> None:
    root = make(tmp_path, suffix=".jpg")
    for path in sorted((root / "JPEGImages").iterdir()):
        put(root / "SegmentationClass" / f"{path.stem}.png", b"x")
    assert all(r.path.suffix == ".jpg" for s in ("train", "val") for r in opens(root).images(s))


@pytest.mark.parametrize(
    "line",
    [
        lambda i: f"im {i}",
        lambda i: f"im {i}.png",
        lambda i: f"JPEGImages/im {i}.png",
        lambda i: f"JPEGImages\\im {i}.png",
        lambda i: f"./Annotations/im {i}.xml",
        lambda i: f"im {i}  1",
        lambda i: f"im {i} 0",
        lambda i: f"/home/me/VOC2007/JPEGImages/im {i}.png",
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines_of_lists(tmp_path: Path, opens: Opens, line: Callable[[int], str], newline: str) -> None:
    info = opens(lists(make(tmp_path), line, newline)).info
    assert info.splits == {"train": 8, "val": 4} and info.defects == () and info.notes == ()


def test_names_without_blanks_in_two_columns(tmp_path: Path, opens: Opens) -> None:
    for number in range(12):
        Image.fromarray(random_image(number)).save(tmp_path / f"{number}.png")
        put(tmp_path / f"{number}.xml", xml(f"{number}.png"))
    info = opens(lists(tmp_path, lambda i: f"{i}.png {i}.xml")).info
    assert info.splits == {"train": 8, "val": 4}


def test_files_in_no_list_are_told(tmp_path: Path, opens: Opens) -> None:
    root = lists(make(tmp_path, count=15), lambda i: f"im {i}")
    info = opens(root).info
    assert info.splits == {"train": 8, "val": 4}
    assert info.notes == ("3 annotation files are in no list and not used, such as im 12.xml",)


def test_images_that_are_not_there(tmp_path: Path, opens: Opens) -> None:
    root = make(tmp_path)
    for path in (root / "JPEGImages").iterdir():
        path.rename(path.with_suffix(".bak"))
    with pytest.raises(
        InputError, match=r"no image can be read: missing image 12x, such as im 0\.xml: im 0\.png; looked among 0 image"
    ):
        opens(root)


def test_images_elsewhere_are_told(tmp_path: Path, opens: Opens) -> None:
    info = opens(make(tmp_path, "Annotations", "deep/scans")).info
    assert info.notes == (
        "12 images found by their name alone, which is unique below the folder: im 0.png is deep/scans/im 0.png",
    )


@pytest.mark.parametrize("with_lists", [True, False])
def test_files_of_macos_are_passed_over(tmp_path: Path, opens: Opens, with_lists: bool) -> None:
    root = make(tmp_path)
    put(root / "Annotations/._im 0.xml", b"\0\5\x16\7\xb0")
    put(root / "Annotations/.DS_Store", b"\0\1Bud1")
    if with_lists:
        lists(root, lambda i: f"im {i}")
    assert opens(root).info.defects == ()


def test_an_empty_file_among_many_is_counted(tmp_path: Path, opens: Opens) -> None:
    root = make(tmp_path, count=30)
    put(root / "Annotations/im 3.xml", "")
    info = opens(root).info
    assert [(d.kind, d.count, d.examples) for d in info.defects] == [
        ("damaged annotation file", 1, ("im 3.xml: the file is empty",))
    ]
    put(root / "Annotations/im 4.xml", "<annotation>")
    with pytest.raises(
        InputError, match=r"2 of 30 images are bad .*damaged annotation file 2x, such as im 3\.xml: the fi"
    ):
        opens(root)


def test_files_in_another_encoding_than_they_say(tmp_path: Path, opens: Opens) -> None:
    root = make(tmp_path)
    for path in (root / "Annotations").iterdir():
        path.write_bytes(path.read_text().replace("cell", "红细胞").encode("gbk"))
    with pytest.raises(
        InputError, match=r"12 of 12 annotation files cannot be read, such as im 0\.xml: is not text in UTF"
    ):
        opens(root)
    for path in (root / "Annotations").iterdir():
        path.write_bytes(b'<?xml version="1.0" encoding="GBK"?>' + path.read_bytes())
    assert opens(root).info.classes == ("红细胞",)


def test_repairs_are_counted(tmp_path: Path, opens: Opens) -> None:
    comma = "<bndbox><xmin>5,5</xmin><ymin>6,0</ymin><xmax>25,5</xmax><ymax>30</ymax></bndbox>"
    dataset = opens(make(tmp_path, label="R & B", inner=comma))
    assert {(d.kind, d.count, d.action) for d in dataset.info.defects} == {
        ("decimal comma", 12, "repaired"),
        ("'&' not written as '&amp;'", 12, "repaired"),
    }
    assert dataset.info.classes == ("R & B",)
    assert dataset.images("train")[0].boxes.tolist() == [[5.5, 6, 25.5, 30]]


def test_no_object_names_the_cause(tmp_path: Path, opens: Opens) -> None:
    with pytest.raises(
        InputError,
        match=r"no object in any of 12 VOC files: malformed annotation 12x, such as im 0\.xml, object 1: no",
    ):
        opens(make(tmp_path / "a", inner="<pose>left</pose>"))
    with pytest.raises(InputError, match="all 12 objects are marked difficult"):
        opens(make(tmp_path / "b", difficult=1))


def test_two_years_in_one_folder(tmp_path: Path, opens: Opens) -> None:
    for year, first in (("VOC2007", 0), ("VOC2012", 50)):
        root = tmp_path / "VOCdevkit" / year
        for number in range(6):
            picture = root / "JPEGImages" / f"{year}_{number}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random_image(first + number)).save(picture)
            put(root / "Annotations" / f"{year}_{number}.xml", xml(picture.name))
        put(root / "ImageSets/Main/train.txt", "".join(f"{year}_{i}\n" for i in range(4)))
        put(root / "ImageSets/Main/val.txt", "".join(f"{year}_{i}\n" for i in range(4, 6)))
    assert opens(tmp_path).info.splits == {"train": 8, "val": 4}


def test_cvats_own_xml_is_named(tmp_path: Path, opens: Opens) -> None:
    put(tmp_path / "annotations.xml", "<?xml version='1.0'?><annotations><image name='a.png'/></annotations>")
    with pytest.raises(InputError, match=r"no known layout .*; CVAT's own XML is not read: export COCO, Pascal VOC or"):
        opens(tmp_path)
