"""Classes from COCO's categories: parents, equal names, files that number them differently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nasdet.data.coco_categories import category_labels
from nasdet.errors import InputError


def file(*categories: tuple[Any, str, str | None], used: tuple[Any, ...]) -> tuple[Path, dict[str, Any]]:
    entries = [{"id": id_, "name": name, "supercategory": parent} for id_, name, parent in categories]
    return Path("a.json"), {"categories": entries, "annotations": [{"category_id": id_} for id_ in used]}


CASES = {
    "sparse ids": ([(7, "b", ""), (3, "a", None)], (7, 3), ("a", "b"), None),
    "text": ([("7", "b", ""), ("3", "a", "")], ("7", "3"), ("a", "b"), None),
    "floats": ([(7.0, "b", ""), (3.0, "a", "")], (7.0, 3), ("a", "b"), None),
    "Roboflow": ([(0, "cells", "none"), (1, "a", "cells")], (1,), ("a",), "category 'cells' is left out"),
    "equal name": ([(0, "a", "none"), (1, "a", "a")], (1,), ("a",), "category 'a' (id 0) is left out"),
    "two levels": (
        [(0, "all", "none"), (1, "pets", "all"), (2, "cat", "pets"), (3, "dog", "pets"), (4, "car", "all")],
        (2, 3, 4),
        ("cat", "dog", "car"),
        "categories 'all', 'pets' are left out: they only group the others",
    ),
    "a parent that is used": ([(0, "pets", ""), (1, "cat", "pets")], (0, 1), ("pets", "cat"), None),
    "its own parent, unused": ([(1, "person", "person"), (2, "car", "")], (2,), ("person", "car"), None),
    "unused": ([(1, "a", "x"), (2, "b", "x")], (1,), ("a", "b"), None),
    "in a ring": ([(1, "a", "b"), (2, "b", "a")], (), ("a", "b"), None),
    "unused twin": (
        [(1, "a", ""), (2, "a", ""), (3, "b", "")],
        (2, 3),
        ("a", "b"),
        "unused categories of the same name",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_classes(case: str) -> None:
    categories, used, classes, note = CASES[case]
    notes: list[str] = []
    found, (labels,) = category_labels([file(*categories, used=used)], notes)
    assert found == classes
    names = {id_: name for id_, name, _ in categories}
    assert [found[labels[id_]] for id_ in used] == [names[id_] for id_ in used]
    assert any(note in n for n in notes) if note else not notes


def test_names_decide_where_files_number_them_differently() -> None:
    notes: list[str] = []
    train = file((1, "a", ""), (2, "b", ""), (3, "c", ""), used=(1, 2, 3))
    val = file((1, "c", ""), (2, "a", ""), used=(1, 2))
    classes, (first, second) = category_labels([train, val], notes)
    assert classes == ("a", "b", "c")
    assert [first[i] for i in (1, 2, 3)] == [0, 1, 2] and [second[i] for i in (1, 2)] == [2, 0]
    assert notes == ["the files number their categories differently (such as 'c'): names decide"]


def test_a_file_may_list_some_of_the_categories() -> None:
    notes: list[str] = []
    classes, (_, second) = category_labels(
        [file((1, "a", ""), (5, "b", ""), used=(1,)), file((3, "c", ""), (5, "b", ""), used=(5,))], notes
    )
    assert classes == ("a", "c", "b") and second[5] == 2 and not notes


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            [[(1, "a", ""), (2, "b", "")], [(1, "c", ""), (2, "b", "")]],
            "category 1 is 'c' here and 'a' in another entry",
        ),
        ([[(1, "a", ""), (1, "b", "")]], "category 1 is 'b' here and 'a' in another entry"),
        ([[(1, "a", ""), (2, "a", "")]], "category name 'a' has several ids"),
        ([[("one", "a", "")]], "a category needs a whole id and a name"),
        ([[(True, "a", "")]], "a category needs a whole id and a name"),
        ([[(1, "", "")]], "a category needs a whole id and a name"),
        ([[]], "no categories"),
    ],
)
def test_contradictions(files: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        category_labels([file(*categories, used=(1, 2)) for categories in files], [])
