"""The classes of a data set in YOLO layout: their names, and which label each class in a label file has.

Label files state classes by number, from 0 in order of the names, unless a data.yaml numbers them otherwise; some tools
write names instead. Numbers from 1 under names from 0 would shift every class by one, so they are an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from nasdet.data.files import read_lines
from nasdet.data.yolo_parts import find_below
from nasdet.data.yolo_rows import Row, is_number
from nasdet.errors import InputError

_CLASS_FILES = ("classes.txt", "obj.names", "classes.names", "_darknet.labels", "predefined_classes.txt")
_MOST_CLASSES = 100_000
"""A larger number without names is no class."""


class Classes(NamedTuple):
    """The classes of a data set as its files state them."""

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    """Of each class in label files."""
    where: str
    """The file that states them."""

    @classmethod
    def listed(cls, names: Sequence[str], where: str) -> Self:
        """Classes numbered from 0 in order; InputError if that cannot be right."""
        return cls.numbered(dict(enumerate(names)), where)

    @classmethod
    def numbered(cls, names: dict[int, str], where: str) -> Self:
        """Classes by their numbers; InputError if that cannot be right."""
        counts = Counter(names.values())
        twice = next((name for name in counts if counts[name] > 1), None)
        if twice is not None:
            raise InputError(
                f"class name {twice!r} is listed twice", where=where, remedy="give every class its own name"
            )
        if not names or "" in counts:
            raise InputError("a class has no name" if names else "no class names", where=where)
        numbers = tuple(sorted(names))
        return cls(tuple(names[number] for number in numbers), numbers, where)


def stated_classes(stated: dict[str, Any], where: Path, folders: Sequence[Path]) -> Classes | None:
    """The classes under `names` in a data.yaml: a list, names by number, numbers by name, or the name of a file. None
    if it has no such key."""
    if "names" not in stated:
        return None
    names, place = stated["names"], f"{where}: names"
    if isinstance(names, str):
        path = find_below(names, folders)
        names = read_lines(path) if path and path.is_file() else names
    if isinstance(names, dict) and not all(_is_number(key) for key in names):
        turned = {number: name for name, number in names.items() if isinstance(number, str | int)}
        names = turned if len(turned) == len(names) else {}
    if isinstance(names, dict) and names and all(_is_number(key) for key in names):
        classes = Classes.numbered({int(key): str(name) for key, name in names.items()}, place)
    elif isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        classes = Classes.listed(names, place)
    else:
        found = f"; there is no file {names!r} in {folders[0]}" if isinstance(names, str) else ""
        raise InputError(f"names must be a list, a mapping of number to name, or a file{found}", where=str(where))
    _check_count(stated.get("nc"), classes, where)
    return classes


def _is_number(text: object) -> bool:
    return isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10


def _check_count(stated: Any, classes: Classes, where: Path) -> None:
    if stated is None:
        return
    try:
        count = float(str(stated))
    except ValueError:
        raise InputError(f"nc must be the number of classes, got {str(stated)[:40]!r}", where=str(where)) from None
    if count not in (len(classes.names), classes.numbers[-1] + 1):
        raise InputError(f"nc is {stated}, but {len(classes.names)} names are listed", where=str(where))


def class_file(root: Path, folders: Iterable[Path]) -> Classes | None:
    """The classes of `classes.txt` and the like in the data folder, in a folder of label files or above one.

    Annotation tools write one into each folder. They may be of different length, but must not contradict each other.
    """
    above = [parent for folder in dict.fromkeys(folders) for parent in (folder, *folder.parents)]
    inside = [folder for folder in dict.fromkeys([root, *above]) if folder.is_relative_to(root)]
    for name in _CLASS_FILES:
        paths = [folder / name for folder in inside if (folder / name).is_file()]
        longest: list[str] = []
        source = None
        for path in paths:
            names = read_lines(path)
            if any(a != b for a, b in zip(names, longest, strict=False)):
                first = next(i for i, (a, b) in enumerate(zip(names, longest, strict=False)) if a != b)
                raise InputError(
                    f"class {first} is {names[first]!r} here and {longest[first]!r} in {source}", where=str(path),
                    remedy="number the classes alike in all label files, or name them in a data.yaml",
                )  # fmt: skip
            if len(names) > len(longest):
                longest, source = names, path
        if source:
            return Classes.listed(longest, str(source))
    return None


def number_classes(
    given: Classes | None, rows: Iterable[list[Row]], notes: list[str], root: Path
) -> tuple[tuple[str, ...], dict[str, int | None]]:
    """The names of the classes, and the label of every class as rows spell it: None if there is no such class.
    Spellings that can be none (`1.5`, `nan`) are left out.

    Args:
        given: the classes as a file states them, None if none does.
        rows: of all label files.
        notes: where choices are told.
        root: the data folder, for messages.
    """
    spelled = Counter(row.label for own in rows for row in own)
    ids = {text: number for text in spelled if (number := _whole(text)) is not None}
    if given is None:
        given = _classes_of_rows(spelled, ids, notes, root)
    _check_first_id(given, spelled, ids, notes)
    by_number = {number: label for label, number in enumerate(given.numbers)}
    by_name = {name: label for label, name in enumerate(given.names)}
    labels: dict[str, int | None] = {}
    for text in spelled:
        if text in ids:
            labels[text] = by_number.get(ids[text])
        elif text in by_name or not is_number(text):
            labels[text] = by_name.get(text)
    by_names = sum(count for text, count in spelled.items() if text in by_name and text not in ids)
    if by_names:
        notes.append(f"{by_names} rows state the name of their class instead of its number")
    return given.names, labels


def _classes_of_rows(spelled: Counter[str], ids: dict[str, int], notes: list[str], root: Path) -> Classes:
    """Classes by what occurs where no file names them: the numbers up to the largest, else the names."""
    names = sorted(text for text in spelled if not is_number(text))
    if names:
        return Classes.listed(names, "the label files")
    largest = max(ids.values(), default=-1)
    if largest < 0:
        raise InputError("no object in any label file", where=str(root))
    if largest > _MOST_CLASSES:
        text = next(text for text, number in ids.items() if number == largest)
        what = f"class {text} in {spelled[text]} rows, and no class names"
        raise InputError(what, where=str(root), remedy="name the classes in a data.yaml")
    notes.append("no class names found (data.yaml or classes.txt); classes are called by their number")
    if 0 not in ids.values():
        notes.append("class 0 occurs in no row: if classes are numbered from 1, name them in a data.yaml")
    numbers = tuple(range(largest + 1))
    return Classes(tuple(map(str, numbers)), numbers, "the label files")


def _check_first_id(given: Classes, spelled: Counter[str], ids: dict[str, int], notes: list[str]) -> None:
    """Classes that are numbered from 1 in label files and from 0 in the list of names, or the reverse, are an error."""
    occurring, count = set(ids.values()), len(given.names)
    rows = sum(spelled[text] for text in ids)
    if given.numbers == tuple(range(count)) and occurring and 0 not in occurring:
        if max(occurring) == count:
            raise InputError(
                f"class numbers count from 1: none of {rows} rows has class 0, and the highest is {count}, but {count} "
                f"names are numbered 0 to {count - 1}",
                where=given.where,
                remedy="subtract 1 from the class of every row, or number the names from 1 in a data.yaml "
                f"(names: {{1: {given.names[0]}, ...}})",
            )
        if count > 1:
            notes.append(
                f"class 0 ({given.names[0]}) occurs in none of {rows} rows; if the class numbers count from 1, number "
                "the names from 1 in a data.yaml"
            )
    if given.numbers == tuple(range(1, count + 1)) and 0 in occurring and count not in occurring:
        raise InputError(
            f"names are numbered 1 to {count}, but of {rows} rows {sum(spelled[t] for t in ids if ids[t] == 0)} have "
            f"class 0 and none has {count}",
            where=given.where, remedy="number the names from 0",
        )  # fmt: skip


def _whole(text: str) -> int | None:
    """The number that a text states if it is a whole one (`2`, `2.0`)."""
    if not is_number(text):
        return None
    value = float(text)
    return int(value) if value.is_integer() else None
