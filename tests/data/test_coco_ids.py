"""Ids as numbers and as text."""

from __future__ import annotations

import math
from typing import Any

import pytest

from nasdet.data.coco_ids import Ids, whole


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3), (3.0, 3), ("3", 3), (" 003 ", 3), ("3.0", 3), ("-1", -1), (2**70, 2**70), (True, None), (3.5, None),
     (math.nan, None), (math.inf, None), ("3e5", None), ("1_0", None), ("a", None), ("", None), (None, None),
     ([3], None), ("9" * 5000, None)],
)  # fmt: skip
def test_whole_numbers(value: Any, number: int | None) -> None:
    assert whole(value) == number


def test_an_id_is_found_in_its_other_spelling() -> None:
    ids: Ids[str] = Ids()
    for id_ in (1, "2", 3.0, "cell"):
        ids.add(id_, f"of {id_}")
    for asked, entered in (("1", 1), (1.0, 1), (2, "2"), ("3", 3.0), (3, 3.0), ("cell", "cell")):
        assert asked in ids and ids[asked] == f"of {entered}"
    assert all(other not in ids for other in (4, "4", "cells", math.nan))


def test_spellings_that_name_two_ids_are_taken_literally() -> None:
    ids: Ids[str | None] = Ids()
    ids.add("1", "one")
    ids.add("01", None)
    assert ids["1"] == "one" and ids["01"] is None and "01" in ids
    assert 1 not in ids and "001" not in ids
