"""Copy-paste: which pixels come, which objects go."""

from __future__ import annotations

import numpy as np

from nasdet.data.copy_paste import paste
from nasdet.data.geometry import CROWD
from nasdet.data.masks import Patch
from nasdet.data.records import Objects


def objects(boxes: list[list[float]], labels: list[int], masks: tuple[Patch | None, ...] | None = None) -> Objects:
    return Objects(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), masks)


def test_a_pasted_box_hides_what_lies_under_it() -> None:
    canvas, other = np.full((40, 60, 3), 9, np.uint8), np.full((40, 60, 3), 7, np.uint8)
    own = objects([[10, 10, 20, 20], [0, 10, 20, 20], [40, 0, 50, 5], [10, 10, 20, 20]], [1, 2, 3, CROWD])
    more = objects([[9.5, 9.5, 20.5, 20.5]], [5])
    seen = paste(canvas, own, other, more, np.random.default_rng(0))
    assert seen.labels.tolist() == [2, 3, CROWD, 5]  # of the second, half is visible
    np.testing.assert_array_equal(seen.boxes[-1], more.boxes[0])
    assert (canvas[9:21, 9:21] == 7).all()
    canvas[9:21, 9:21] = 9
    assert (canvas == 9).all()


def test_a_mask_is_pasted_without_what_surrounds_it() -> None:
    canvas, other = np.zeros((20, 20, 1), np.uint8), np.ones((20, 20, 1), np.uint8)
    disc = np.eye(10, dtype=bool)
    seen = paste(
        canvas, objects([], [], ()), other, objects([[5, 5, 15, 15]], [2], (Patch(5, 5, disc),)),
        np.random.default_rng(0),
    )  # fmt: skip
    assert canvas.sum() == 10 and (canvas[5:15, 5:15, 0] == disc).all()
    assert seen.labels.tolist() == [2] and seen.masks is not None and seen.masks[0] is not None


def test_a_neighbour_that_comes_along_is_learnt_as_well() -> None:
    canvas, other = np.zeros((50, 50, 1), np.uint8), np.ones((50, 50, 1), np.uint8)
    found = objects([[0, 0, 30, 30], [10, 10, 20, 20], [25, 25, 45, 45]], [0, 1, 2])
    seeds = [paste(canvas.copy(), objects([], []), other, found, np.random.default_rng(seed)) for seed in range(40)]
    choices = {tuple(sorted(seen.labels.tolist())) for seen in seeds}
    assert (1,) in choices and (0, 1) in choices and (0,) not in choices  # where 0 is pasted, 1 lies inside it
    assert (2,) in choices and (0, 1, 2) in choices


def test_regions_to_ignore_are_not_pasted() -> None:
    canvas, other = np.zeros((9, 9, 1), np.uint8), np.ones((9, 9, 1), np.uint8)
    own = objects([[1, 1, 4, 4]], [0])
    for found in (objects([], []), objects([[0, 0, 9, 9]], [CROWD])):
        assert paste(canvas, own, other, found, np.random.default_rng(0)) is own
    assert not canvas.any()
