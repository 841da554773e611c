"""Finding the files of a data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from nasdet.data.files import list_images, read_json, split_of, walk
from nasdet.errors import InputError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    names = ("a/1.jpg", "a/._1.jpg", ".DS_Store", "__MACOSX/a/1.jpg", ".git/2.jpg", "b.txt")
    touch(*(tmp_path / name for name in names))
    assert [p.relative_to(tmp_path).as_posix() for p in walk(tmp_path)] == ["a/1.jpg", "b.txt"]
    assert list_images(tmp_path) == [tmp_path / "a/1.jpg"]


def test_links_to_folders_are_followed_once_around(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere/1.jpg")
    root = tmp_path / "set"
    root.mkdir()
    for name, target in {"train": "elsewhere", "val": "elsewhere", "loop": "set", "up": ".", "top": "/"}.items():
        (root / name).symlink_to(tmp_path / target)
    assert list_images(root) == [root / "train/1.jpg", root / "val/1.jpg"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("instances_train2017", "train"),
        ("instances_train_val", "train"),
        ("trainval", "train"),
        ("val-train", "train"),
        ("valid", "val"),
        ("instances_minival2014", "val"),
        ("image_info_test-dev2017", "test"),
        ("TEST", "test"),
        ("strain", ""),
        ("values", ""),
    ],
)
def test_names_of_splits(name: str, split: str) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_texts_in_all_encodings_with_a_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.json").write_bytes('{"ü":\r\n "漢"}'.encode(encoding))
    assert read_json(tmp_path / "a.json") == {"ü": "漢"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\xff", "is not a text file"),
        (b"\xb0", "is not a text file"),
        (b"[" * 200_000, "is nested too deeply|not valid JSON"),
        (b"9" * 5000, "a number with thousands of digits"),
        (b"[1,\n", r"a\.json:2:1: is not valid JSON"),
    ],
)
def test_damaged_json_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_json(tmp_path / "a.json")
