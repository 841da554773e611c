"""The YAML of a data set: text stays as it is written, and no file makes the reader hang, crash or run something."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from nasdet.data.data_yaml import read_yaml, resolve_source
from nasdet.errors import InputError


def read(folder: Path, text: str | bytes) -> dict[str, object]:
    path = folder / "data.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path)


def test_names_and_paths_are_text(tmp_path: Path) -> None:
    content = read(tmp_path, "train: 2017\nval:\ntest: ~\nnames: {0: no, 1: 1.10, 2: 0x10}\nnc: 3\nmax_bad: 0.1\n")
    names = {"0": "no", "1": "1.10", "2": "0x10"}
    assert content == {"train": "2017", "val": None, "test": None, "names": names, "nc": "3", "max_bad": 0.1}


@pytest.mark.parametrize(
    "written", ["..\\train\\new", '"..\\train\\new"', "'..\\train\\new'", '"..\\\\train\\\\new"', "../train/new"]
)
def test_paths_of_windows(tmp_path: Path, written: str) -> None:
    assert read(tmp_path, f"train: {written}\nval:\n  - {written}\n") == {
        "train": "../train/new", "val": ["../train/new"]
    }  # fmt: skip


def test_a_regular_expression_keeps_its_backslash(tmp_path: Path) -> None:
    assert read(tmp_path, "train: a\ngroup: {regex: '(P\\d+)_'}\n")["group"] == {"regex": "(P\\d+)_"}


def test_tabs(tmp_path: Path) -> None:
    assert read(tmp_path, "train:\ta\nnames:\n\t- b\n\t- c\n") == {"train": "a", "names": ["b", "c"]}


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60)) + "names: *a59\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: a\nnames: [a\n", r"data.yaml:2: is not valid YAML"),
        ("a: 1\na: 2\n", "found duplicate key"),
        ("[" * 20_000, "is nested too deeply"),
        ("a: !!float b\n", "a value does not fit its type"),
        ("date: 2024-99-01\n", "a value does not fit its type"),
        ("? [a, {b: c}]\n: 1\n", "a value does not fit its type"),
        ("a: !!python/object/apply:os.system [true]\n", "could not determine a constructor"),
        ("a: \x00\n", "is not valid YAML"),
        ("- a\n- b\n", "holds no keys"),
        ("", "holds no keys"),
        ("# nothing\n" * 200_000, "is too large for a data YAML"),
        (b"\xff\xfe\x00\xd8", "is not"),
    ],
)
def test_damaged_and_hostile_files(tmp_path: Path, text: str | bytes, message: str) -> None:
    start = time.monotonic()
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)
    assert time.monotonic() - start < 5


def test_a_bomb_of_aliases_is_refused_as_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nasdet.data import open_data

    read(tmp_path, BOMB + "train: images\n")
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="names must be a list"):
        open_data(tmp_path, cache_root=tmp_path / "cache")
    with pytest.raises(InputError, match="names must be a list"):
        open_data(tmp_path / "data.yaml", cache_root=tmp_path / "cache")
    nested = ", ".join(["&a0 [x, x]", *(f"&a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))])
    read(tmp_path, f"format: yolo\nclasses: [[{nested}]]\n")
    with pytest.raises(InputError, match=r"classes\.0: Input should be a valid string, got \["):
        open_data(tmp_path / "data.yaml", cache_root=tmp_path / "cache")


def test_archives_have_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"set.zip: .zip is not a data set; unpack it and give the folder"):
        resolve_source(tmp_path / "set.zip")
