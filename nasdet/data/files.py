"""Finding and reading the files of a data set. A path is looked up in the usual places of all three layouts, so that a
folder that was moved or unpacked differently can still be opened."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nasdet.data.images import is_image
from nasdet.errors import InputError

_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
          "testing": "test", "dev": "val"}  # fmt: skip
_SPLIT_WORD = re.compile(r"(?<![a-z])(train|training|val|valid|validation|dev|test|testing)(?![a-z])")
_PLACES = ("", "images", "JPEGImages", "train2017", "val2017", "test2017")


def split_of(name: str) -> str:
    """The split a file or folder name speaks of (`instances_train2017` is train), or an empty string."""
    words = _SPLIT_WORD.findall(name.lower())
    return _NAMES[words[-1]] if words else ""


class ImageFinder:
    """Looks image names up below a folder: relative to it, then `images/`, `JPEGImages/`, `train2017/`, `val2017/`."""

    def __init__(self, root: Path, extra: Iterable[Path] = ()) -> None:
        self._named = list(extra)
        self._folders = [*self._named, *(root / p for p in _PLACES)]
        for top in (root / "images", root):
            if top.is_dir():
                self._folders += [d for d in sorted(top.iterdir()) if d.is_dir() and split_of(d.name)]
        self._folders = [d for d in dict.fromkeys(self._folders) if d.is_dir()]
        self._listing: dict[Path, dict[str, Path]] = {}

    def find(self, name: str, *, split: str = "", prefer: Path | None = None) -> Path | None:
        """The file of this name, or None; folders that are named after another split than `split` come last."""
        name = name.replace("\\", "/")
        for folder in self._ordered(split, prefer):
            path = folder / name
            if path.is_file():
                return path
        return None

    def find_stem(self, stem: str, *, split: str = "", prefer: Path | None = None) -> Path | None:
        """The image of this name without suffix, or None; see `find`."""
        for folder in self._ordered(split, prefer):
            base = folder / stem
            found = self._images_in(base.parent).get(base.name)
            if found is not None:
                return found
        return None

    def _ordered(self, split: str, prefer: Path | None) -> list[Path]:
        """Equal names may occur in the folders of several splits (0001.jpg in train and in val)."""

        def is_of_another(folder: Path) -> bool:
            return bool(split) and folder not in self._named and split_of(folder.name) not in ("", split)

        return ([prefer] if prefer else []) + sorted(self._folders, key=is_of_another)

    def _images_in(self, folder: Path) -> dict[str, Path]:
        if folder not in self._listing:
            paths = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []
            self._listing[folder] = {p.stem: p for p in paths if is_image(p)}
        return self._listing[folder]


def walk(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """All files below a folder. Links to folders are followed; hidden files and folders, and what macOS puts beside its
    own files (`._a.jpg`, `.DS_Store`, `__MACOSX/`), are passed over.

    Args:
        folder: where to begin.
        above: device and inode of the folders that this one is inside of, so that a link to one of them ends.
    """
    if not above:
        above = frozenset(_identity(parent) for parent in folder.resolve().parents)
    above = above | {_identity(folder)}
    with os.scandir(folder) as entries:
        listed = sorted((e for e in entries if not e.name.startswith(".") and e.name != "__MACOSX"), key=_name)
    for entry in listed:
        path = folder / entry.name
        if entry.is_file():
            yield path
        elif entry.is_dir() and _identity(path) not in above:
            yield from walk(path, above)


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def list_images(folder: Path) -> list[Path]:
    """All images below a folder, sorted by path; see `walk`."""
    return sorted(p for p in walk(folder) if is_image(p))


def read_text(path: Path) -> str:
    """The file's text; InputError naming it if that fails."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError("no such file", where=str(path)) from None
    except UnicodeDecodeError:
        raise InputError("is not a text file (UTF-8)", where=str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(path)) from None


def read_json(path: Path) -> Any:
    """The file's JSON value; InputError naming line and column if it is damaged."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise InputError(f"is not valid JSON ({error.msg})", where=where, remedy="write the file again") from None


def read_lines(path: Path) -> list[str]:
    """Lines that are not empty, stripped."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]
