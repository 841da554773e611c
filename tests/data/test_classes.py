"""Classes that are left out, and names that are hardly different."""

from __future__ import annotations

from pathlib import Path

import pytest

from nasdet.data.classes import settle_classes
from nasdet.data.records import RawData, RawImage, RawObject
from nasdet.errors import InputError


def raw(classes: tuple[str, ...], objects: list[tuple[int, bool]], layout: str = "coco") -> RawData:
    own = [RawObject((0, 0, 9, 9), label, crowd, None, "") for label, crowd in objects]
    return RawData(layout, classes, [RawImage(Path("a.png"), "", own)])


def test_a_class_of_nothing_but_ignored_objects_is_left_out() -> None:
    data = raw(("a", "b", "c"), [(0, False), (1, True), (1, True), (2, False), (2, True)])
    settle_classes(data, "here")
    assert data.classes == ("a", "c")
    assert [(o.label, o.crowd) for o in data.images[0].objects] == [(0, False), (1, False), (1, True)]
    assert data.notes == ["left out, because all objects of the class are to be ignored: 'b' (2)"]


def test_a_class_without_objects_stays() -> None:
    data = raw(("a", "b"), [(0, False)])
    settle_classes(data, "here")
    assert data.classes == ("a", "b") and not data.notes


@pytest.mark.parametrize(("layout", "mark"), [("coco", "iscrowd"), ("voc", "difficult")])
def test_nothing_but_ignored_objects_is_refused(layout: str, mark: str) -> None:
    with pytest.raises(InputError, match=f"here: all 2 objects are marked {mark}"):
        settle_classes(raw(("a", "b"), [(0, True), (1, True)], layout), "here")


def test_names_that_differ_in_case_or_blanks_are_told() -> None:
    data = raw(("WBC", "wbc", "white cell", "White_Cell", "c", "c++", "-", "_"), [(0, False)])
    settle_classes(data, "here")
    assert data.notes[:2] == [
        "classes 'WBC' and 'wbc' differ only in case or blanks; are they one class?",
        "classes 'white cell' and 'White_Cell' differ only in case or blanks; are they one class?",
    ]
