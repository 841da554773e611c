"""Names and numbers of the classes in YOLO layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nasdet.data import Dataset
from nasdet.errors import InputError
from tests.data.yolo_sets import NAMES, assert_right, row, write_set

Opens = Callable[..., Dataset]
PARTS = "train: images/train\nval: images/val\n"


@pytest.mark.parametrize("rare", [False, True])
def test_numbers_from_1_are_an_error(tmp_path: Path, opens: Opens, rare: bool) -> None:
    root = write_set(tmp_path / "set", line=lambda label, *box: row(1 + (0 if rare else label), *box))
    if rare:
        path = root / "labels/val/val0.txt"
        path.write_text(path.read_text() + row(3, 1, 1, 9, 9))
    with pytest.raises(InputError, match=r"count from 1: none of 3[67] rows has class 0, and the highest is 3, but"):
        opens(root)


def test_names_that_are_numbered_from_1(tmp_path: Path, opens: Opens) -> None:
    yaml = PARTS + "names: {1: cell, 2: dust, 3: hair}\n"
    assert_right(opens(write_set(tmp_path / "right", yaml, line=lambda label, *box: row(label + 1, *box))))
    with pytest.raises(InputError, match="names are numbered 1 to 3, but of 36 rows 18 have class 0 and none has 3"):
        opens(write_set(tmp_path / "wrong", yaml))


def test_class_0_that_never_occurs_is_noted(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set", line=lambda label, *box: row(max(label, 1), *box))
    assert opens(root).info.notes[0].startswith("class 0 (cell) occurs in none of 36 rows")


@pytest.mark.parametrize("names", [NAMES, None])
def test_rows_that_name_their_class(tmp_path: Path, opens: Opens, names: str | None) -> None:
    words = ("cell", "dust", "hair")
    root = write_set(tmp_path / "set", names and PARTS + names, line=lambda label, *box: row(words[label], *box))
    dataset = opens(root)
    assert_right(dataset)
    assert dataset.info.classes == words
    assert "36 rows state the name of their class instead of its number" in dataset.info.notes


def test_names_of_two_words_and_float_numbers(tmp_path: Path, opens: Opens) -> None:
    yaml = PARTS + "names: [red cell, dust, hair]\n"
    words = ("red cell", "1.0", "2.00")
    assert_right(opens(write_set(tmp_path / "set", yaml, line=lambda label, *box: row(words[label], *box))))


def test_names_stay_as_they_are_written(tmp_path: Path, opens: Opens) -> None:
    assert opens(write_set(tmp_path / "a", PARTS + "names: [no, 1.10, null]\n")).info.classes == ("no", "1.10", "null")
    assert opens(write_set(tmp_path / "b", PARTS + "names:\n  0: on\n  1: 007\n  2: ~\n")).info.classes == (
        "on",
        "007",
        "~",
    )


def test_names_in_a_file(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set", PARTS + "names: lists\\names.txt\n")
    (root / "names.txt").write_text("cell\ndust\nhair\n")
    assert opens(root).info.classes == ("cell", "dust", "hair")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("names: [a, a, b]", "names: class name 'a' is listed twice"),
        ("names: {0: a, 1: '', 2: c}", "names: a class has no name"),
        (
            "names: absent.txt",
            "a mapping of number to name, or a file; there is no file 'absent.txt' in",
        ),
        ("names: [[a], b]", "names must be a list, a mapping of number to name"),
        ("names: []", "names must be a list"),
        ("names: {a: 0, b: 0}", "names must be a list"),
        ("names: {0: a, '0': b}", "names must be a list"),
        ("names: [a, b, c]\nnc: 4", "nc is 4, but 3 names are listed"),
        ("names: [a, b, c]\nnc: many", "nc must be the number of classes, got 'many'"),
        ("nc: 3", "no key 'names'"),
    ],
)
def test_names_that_cannot_be_right(tmp_path: Path, opens: Opens, names: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        opens(write_set(tmp_path / "set", PARTS + names + "\n"))
    assert message in str(error.value)


def test_class_files_that_contradict_each_other(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set", None)
    (root / "labels/train/classes.txt").write_text("cell\ndust\nhair\n")
    (root / "labels/val/classes.txt").write_text("cell\ndust\n")
    assert opens(root).info.classes == ("cell", "dust", "hair")
    (root / "labels/val/classes.txt").write_text("dust\ncell\n")
    with pytest.raises(InputError, match=r"val/classes.txt: class 0 is 'dust' here and 'cell' in .*train/classes.txt"):
        opens(root)


def test_a_number_that_is_no_class(tmp_path: Path, opens: Opens) -> None:
    root = write_set(tmp_path / "set", None)
    (root / "labels/val/val0.txt").write_text(row("1e12", 1, 1, 9, 9))
    with pytest.raises(InputError, match="class 1e12 in 1 rows, and no class names; name the classes"):
        opens(root)
