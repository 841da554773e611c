"""Names of images as tools write them, and the files that they mean."""

from __future__ import annotations

import time
import unicodedata
from pathlib import Path

import pytest

from nasdet.data.image_finder import ImageFinder
from tests.data.test_files import touch

NAMES = [
    # name, file that is there
    ("images/a.jpg", "images/a.jpg"),
    ("a.jpg", "images/a.jpg"),
    ("a.jpg", "data/a.jpg"),
    ("a.jpg", "images/default/a.jpg"),
    ("a.jpg", "train/images/a.jpg"),
    ("images\\a.jpg", "images/a.jpg"),
    ("images\\1\\a.jpg", "images/a.jpg"),
    ("images\\a.jpg", "images\\a.jpg"),
    ("..\\..\\label-studio\\media\\upload\\4\\a.jpg", "images/a.jpg"),
    ("../../label-studio/media/upload/4/a.jpg", "images/4/a.jpg"),
    ("/label-studio/data/media/upload/1/a.jpg", "x/y/a.jpg"),
    ("C:\\data\\scans\\a.jpg", "scans/a.jpg"),
    ("/data/local-files/?d=images/a.jpg", "images/a.jpg"),
    ("/data/local-files/?d=images\\blood%20cell.jpg", "images/blood cell.jpg"),
    ("http://localhost:8080/data/upload/1/a.jpg?token=1", "images/a.jpg"),
    ("s3://bucket/deep/a.jpg", "images/a.jpg"),
    ("images/blood%20cell.jpg", "images/blood cell.jpg"),
    ("images/blood%20cell.jpg", "images/blood%20cell.jpg"),
    ("images/blood%2520cell.jpg", "images/blood cell.jpg"),
    ("a.jpg", "images/a.JPG"),
    ("A.JPG", "images/a.jpg"),
    ("a.jpg", "images/a.jpeg"),
    ("Images/a.jpg", "images/a.jpg"),
    ("a", "images/a.jpg"),
    ("scan.01", "images/scan.01.png"),
    (unicodedata.normalize("NFD", "Zürich.jpg"), unicodedata.normalize("NFC", "Zürich.jpg")),
    (unicodedata.normalize("NFC", "Zürich.jpg"), unicodedata.normalize("NFD", "images/Zürich.jpg")),
    ("./images/./a.jpg", "images/a.jpg"),
]


@pytest.mark.parametrize(("name", "there"), NAMES)
def test_a_name_is_found(tmp_path: Path, name: str, there: str) -> None:
    touch(tmp_path / there)
    found = ImageFinder(tmp_path).find(name)
    assert found is not None and found.samefile(tmp_path / there)


@pytest.mark.parametrize("name", ["b.jpg", "", "/", "..", "\0", "\ud800.jpg", "a" * 5000, "?d=", "%", "%zz%", "~", "."])
def test_other_names_are_not(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "images/a.jpg", tmp_path / "images/._b.jpg", tmp_path / "notes/b.txt")
    finder = ImageFinder(tmp_path)
    assert finder.find(name) is None and finder.explain(name) == ""


@pytest.mark.parametrize("name", ["../secret.jpg", "images/../../secret.jpg", "{outside}/secret.jpg", "..\\secret.jpg"])
def test_nothing_outside_is_read(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "secret.jpg", tmp_path / "set/images/a.jpg")
    name = name.format(outside=tmp_path)
    assert ImageFinder(tmp_path / "set").find(name) is None
    touch(tmp_path / "set/x/secret.jpg")
    assert ImageFinder(tmp_path / "set").find(name) == tmp_path / "set/x/secret.jpg"


def test_the_longest_part_counts_and_doubt_is_told(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("x/1/a.jpg", "x/2/a.jpg", "y/2/a.jpg", "x/2/b.JPG")))
    finder = ImageFinder(tmp_path)
    assert finder.find("/old/x/2/a.jpg") == tmp_path / "x/2/a.jpg"
    assert finder.find("/old/1/a.jpg") == tmp_path / "x/1/a.jpg"
    assert finder.find("/old/2/a.jpg") is None and finder.find("a.jpg") is None
    assert finder.explain("/old/2/a.jpg") == " (2 files have it: x/2/a.jpg, y/2/a.jpg)"
    assert finder.explain("b.png") == " (but x/2/b.JPG is there)"
    assert finder.find("b.jpg") == tmp_path / "x/2/b.JPG"
    assert finder.notes() == [
        "1 images found under a name that differs in case, in Unicode form or by its suffix: b.jpg is x/2/b.JPG",
        "2 images found by the last parts of their name: /old/x/2/a.jpg is x/2/a.jpg",
    ]


def test_the_split_decides_between_equal_names(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{split}/deep/scans/a.jpg" for split in ("train", "valid", "other")))
    finder = ImageFinder(tmp_path)
    assert finder.find("scans/a.jpg", split="val") == tmp_path / "valid/deep/scans/a.jpg"
    assert finder.find("scans/a.jpg", split="test") == tmp_path / "other/deep/scans/a.jpg"
    assert finder.find("scans/a.jpg") is None


def test_a_folder_that_the_user_names_goes_first(tmp_path: Path) -> None:
    touch(tmp_path / "set/images/a.jpg", tmp_path / "elsewhere/deep/a.jpg", tmp_path / "elsewhere/deep/b.jpg")
    finder = ImageFinder(tmp_path / "set", [tmp_path / "elsewhere/deep"])
    assert finder.find("a.jpg") == tmp_path / "elsewhere/deep/a.jpg"
    assert finder.find("c:/b.jpg") == tmp_path / "elsewhere/deep/b.jpg"


def test_names_in_a_large_folder_are_found_quickly(tmp_path: Path) -> None:
    count = 1000
    for number in range(count):
        (tmp_path / f"{number}.jpg").touch()
    finder, start = ImageFinder(tmp_path), time.process_time()
    assert all(finder.find(f"/old/place/{number}.jpg") for number in range(count))
    assert time.process_time() - start < 3  # 0.1 s; a listing of the folder for each name takes minutes
