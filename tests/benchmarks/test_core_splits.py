"""The arithmetic of the benchmark; `test_scripts` runs it."""

from __future__ import annotations

import pytest

from benchmarks.core_splits import Split, rate, splits_of


def test_all_splits_use_every_core() -> None:
    assert list(splits_of(1)) == [Split(1, 1, 1)]
    assert list(splits_of(2)) == [Split(2, 1, 1), Split(1, 2, 1), Split(1, 1, 2)]
    found = list(splits_of(12))
    assert all(split.groups * split.workers * split.threads == 12 for split in found)
    assert len(set(found)) == len(found) == 18  # ordered factorisations of 12 = 2 * 2 * 3 into three numbers


def test_neither_the_start_nor_uneven_last_candidates_count() -> None:
    two_groups = [(10.0, "a", 1), (20.0, "b", 1), (30.0, "a", 2), (40.0, "b", 2), (50.0, "c", 1), (90.0, "c", 2)]
    # b's group finds nothing after 40 s: 4 epochs in 40 s from when the first group was ready
    assert rate(two_groups, ready=0.0, waiting=1, epochs=2) == pytest.approx(6.0)
    one_group = [(10.0, "a", 1), (20.0, "b", 1)]
    assert rate(one_group, ready=0.0, waiting=1, epochs=1) == pytest.approx(6.0)
