"""Finding the files of a data set."""

from __future__ import annotations

from pathlib import Path

from nasdet.data.files import list_images, walk


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
