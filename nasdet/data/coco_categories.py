"""From the categories of COCO files to classes.

One decision: files of one data set agree by the names of their categories. Where they also agree by ids, the order of
the ids is that of the labels; otherwise the first file's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nasdet.data.coco_ids import Ids, shown, whole
from nasdet.errors import InputError


class _Category(NamedTuple):
    """One entry of a file's list of categories."""

    id: int
    name: str
    parent: str


def category_labels(
    files: Sequence[tuple[Path, dict[str, Any]]], notes: list[str]
) -> tuple[tuple[str, ...], list[Ids[int]]]:
    """The classes of all files, and the label of each category id in each file.

    Args:
        files: path and content of the annotation files.
        notes: where choices are told.
    """
    lists = [_read(path, content) for path, content in files]
    used = {c for own, (_, content) in zip(lists, files, strict=True) for c in _named_by_annotations(own, content)}
    lists = _without_groups(lists, used, notes)
    lists = [_without_twins(own, used, path, notes) for own, (path, _) in zip(lists, files, strict=True)]
    if (other := _renumbered(lists)) is None:
        names = list(dict.fromkeys(c.name for c in sorted(c for own in lists for c in own)))
    else:
        _check_agreement(lists, [path for path, _ in files])
        notes.append(f"the files number their categories differently (such as {other!r}): names decide")
        names = list(dict.fromkeys(c.name for own in lists for c in sorted(own)))
    if not names:
        raise InputError("no categories", where=str(files[0][0]), remedy="list the classes under 'categories'")
    ranks, labels = {name: label for label, name in enumerate(names)}, []
    for own in lists:
        ids: Ids[int] = Ids()
        for category in own:
            ids.add(category.id, ranks[category.name])
        labels.append(ids)
    return tuple(names), labels


def _read(path: Path, content: dict[str, Any]) -> list[_Category]:
    found: dict[int, _Category] = {}
    for entry in content["categories"]:
        number = whole(entry.get("id")) if isinstance(entry, dict) else None
        if number is None or entry.get("name") in (None, ""):
            raise InputError(f"a category needs a whole id and a name, got {shown(entry)[:80]}", where=str(path))
        name = shown(entry["name"])
        parent = entry.get("supercategory")
        category = _Category(number, name, parent if isinstance(parent, str) else "")
        other = found.setdefault(number, category)
        if other.name != name:
            raise _contradiction(number, name, other.name, path)
    return list(found.values())


def _named_by_annotations(own: list[_Category], content: dict[str, Any]) -> list[_Category]:
    entries = (a.get("category_id") for a in content["annotations"] if isinstance(a, dict))
    numbers = {whole(id_) for id_ in {e for e in entries if isinstance(e, int | float | str)}}
    return [c for c in own if c.id in numbers]


def _without_groups(lists: list[list[_Category]], used: set[_Category], notes: list[str]) -> list[list[_Category]]:
    """Leave out parents of other categories that no annotation names, as Roboflow lists them."""
    everything = {c for own in lists for c in own}
    parents = {parent: {c.id for c in everything if c.parent == parent} for parent in {c.parent for c in everything}}
    named = {(c.id, c.name) for c in used}
    groups = {c for c in everything if parents.get(c.name, set()) - {c.id} and (c.id, c.name) not in named}
    if not groups or groups == everything:
        return lists
    names = {c.name for c in everything - groups}
    listed = ", ".join(repr(c.name) + f" (id {c.id})" * (c.name in names) for c in sorted(groups))
    notes.append(
        f"category {listed} is left out: it only groups the others" if len(groups) == 1
        else f"categories {listed} are left out: they only group the others"
    )  # fmt: skip
    return [[c for c in own if c not in groups] for own in lists]


def _without_twins(own: list[_Category], used: set[_Category], path: Path, notes: list[str]) -> list[_Category]:
    """Of several ids of one name in a file, keep the one that annotations name."""
    kept: list[_Category] = []
    for name in dict.fromkeys(c.name for c in own):
        twins = sorted(c for c in own if c.name == name)
        chosen = [c for c in twins if c in used] or twins[:1]
        if len(chosen) > 1:
            raise InputError(f"category name {name!r} has several ids", where=str(path))
        if len(twins) > 1:
            listed = ", ".join(str(c.id) for c in twins if c not in chosen)
            notes.append(f"unused categories of the same name as {chosen[0].id}, {name!r}, are left out: {listed}")
        kept += chosen
    return kept


def _renumbered(lists: list[list[_Category]]) -> str | None:
    """The first name that has different ids in two files, or shares its id with another name."""
    names: dict[int, str] = {}
    ids: dict[str, int] = {}
    for own in lists:
        for category in own:
            if names.setdefault(category.id, category.name) != category.name:
                return category.name
            if ids.setdefault(category.name, category.id) != category.id:
                return category.name
    return None


def _check_agreement(lists: list[list[_Category]], paths: list[Path]) -> None:
    """Files that number categories differently must have the same names, or one a part of the other's."""
    first = {c.name: c for c in lists[0]}
    by_id = {c.id: c for c in lists[0]}
    for own, path in zip(lists[1:], paths[1:], strict=True):
        names = {c.name for c in own}
        if names <= first.keys() or first.keys() <= names:
            continue
        for category in own:
            other = by_id.get(category.id)
            if other and other.name != category.name:
                raise _contradiction(category.id, category.name, other.name, path)


def _contradiction(number: int, name: str, other: str, path: Path) -> InputError:
    return InputError(
        f"category {number} is {name!r} here and {other!r} in another entry",
        where=str(path),
        remedy="give every category the same id in all files",
    )
