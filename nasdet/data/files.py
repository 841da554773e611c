"""Reading the files of a data set: what lies below its folder, texts in the encodings that tools write, JSON, lists."""

from __future__ import annotations

import codecs
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nasdet.data.images import is_image
from nasdet.errors import InputError

_NAMES = {"train": "train", "training": "train", "trainval": "train", "val": "val", "valid": "val", "validation": "val",
          "minival": "val", "test": "test", "testing": "test", "test-dev": "test",
          "test_dev": "test", "dev": "val"}  # fmt: skip
_SPLIT_WORD = re.compile(rf"(?<![a-z])({'|'.join(sorted(_NAMES, key=len, reverse=True))})(?![a-z])")
_MOST_VISITS = 20
"""How often a folder is listed that several links lead to."""
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16",
          codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip
"""Byte order marks, those of UTF-32 first, because one of them begins as UTF-16's does."""


def split_of(name: str) -> str:
    """The split a file or folder name speaks of (`instances_train2017` is train), or an empty string.

    Of several words the last one counts; train and val together are train.
    """
    found = [_NAMES[word] for word in _SPLIT_WORD.findall(name.lower())]
    if not found:
        return ""
    return "train" if found[-1] == "val" and "train" in found else found[-1]


def composed(name: str) -> str:
    """A name in the form in which accents are parts of their letters (NFC); macOS writes them apart."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def split_below(path: Path, root: Path) -> str:
    """The split that the part of a path below `root` speaks of, the innermost folder first; or an empty string."""
    parts = path.relative_to(root).parts if path.is_relative_to(root) else ()
    return next((split for part in reversed(parts) if (split := split_of(part))), "")


def walk(
    folder: Path, above: frozenset[tuple[int, int]] = frozenset(), visits: Counter[tuple[int, int]] | None = None
) -> Iterator[Path]:
    """All files below a folder, sorted by path. Links to folders are followed; hidden files and folders, and what macOS
    puts beside its own files (`._a.jpg`, `.DS_Store`, `__MACOSX/`), are passed over.

    Args:
        folder: where to begin.
        above: device and inode of the folders that this one is inside of, so that a link to one of them ends.
        visits: how often each folder was listed, so that links between folders do not multiply without end.
    """
    visits = Counter() if visits is None else visits
    if not above:
        above = frozenset(_identity(parent) for parent in folder.resolve().parents)
    above = above | {_identity(folder)}
    try:
        with os.scandir(folder) as entries:
            listed = sorted((e for e in entries if not e.name.startswith(".") and e.name != "__MACOSX"), key=_name)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(folder)) from None
    for entry in listed:
        path = folder / entry.name
        try:
            is_file, own = entry.is_file(), _identity(path) if entry.is_dir() else None
        except OSError:  # a link that leads to itself
            continue
        if is_file:
            yield path
        elif own and own not in above and visits[own] < _MOST_VISITS:
            visits[own] += 1
            yield from walk(path, above, visits)


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def list_images(folder: Path) -> list[Path]:
    """All images below a folder, sorted by path; see `walk`."""
    return [p for p in walk(folder) if is_image(p)]


def read_bytes(path: Path) -> bytes:
    """The file's content; InputError naming it if that fails."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError("no such file", where=str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(path)) from None


def read_text(path: Path) -> str:
    """The file's text, UTF-8 or with a byte order mark UTF-16 or UTF-32; InputError naming it if that fails."""
    content = read_bytes(path)
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8-sig")
    try:
        return content.decode(encoding).replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise InputError("is not a text file (UTF-8 or UTF-16)", where=str(path)) from None


def read_json(path: Path) -> Any:
    """The file's JSON value; InputError naming line and column if it is damaged."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise InputError(f"is not valid JSON ({error.msg})", where=where, remedy="write the file again") from None
    except ValueError:  # Python's limit of 4,300 digits
        raise InputError("is not valid JSON (a number with thousands of digits)", where=str(path)) from None
    except RecursionError:
        raise InputError("is nested too deeply", where=str(path), remedy="write the file again") from None


def read_lines(path: Path) -> list[str]:
    """Lines that are not empty, stripped."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]
