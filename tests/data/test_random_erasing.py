"""Random erasing: the rectangle, and the boxes under it."""

from __future__ import annotations

import numpy as np

from nasdet.data.geometry import CROWD, Region
from nasdet.data.masks import Patch
from nasdet.data.random_erasing import AREA, draw_region, erase
from nasdet.data.records import Objects


def test_regions_lie_inside_and_have_the_stated_size() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(500):
        top, left, height, width = draw_region(rng, 96, 160)
        assert top >= 0 and top + height <= 96 and left >= 0 and left + width <= 160
        shares.append(height * width / (96 * 160))
    assert 0.9 * AREA[0] < min(shares) and max(shares) < 1.05 * AREA[1]
    assert max(shares) - min(shares) > 0.25


def test_hidden_boxes_go_and_the_rest_stays() -> None:
    canvas = np.full((40, 60, 3), 9, np.uint8)
    boxes = np.array([[10, 10, 20, 20], [0, 10, 20, 20], [24, 10, 34, 20], [10, 10, 20, 20]], np.float32)
    labels = np.array([1, 2, 3, CROWD])
    patches = tuple(Patch(0, column, np.ones((1, 1), bool)) for column in range(3))
    objects = Objects(boxes, labels, (*patches, None))
    left = erase(canvas, np.array([1, 2, 3], np.uint8), Region(5, 10, 20, 17), objects)
    assert left.labels.tolist() == [2, 3, CROWD]
    np.testing.assert_array_equal(left.boxes, boxes[[1, 2, 3]])
    assert left.masks == (patches[1], patches[2], None)
    assert (canvas[5:25, 10:27] == [1, 2, 3]).all()
    canvas[5:25, 10:27] = 9
    assert (canvas == 9).all()


def test_an_image_without_boxes() -> None:
    canvas, none = np.zeros((8, 8, 1), np.uint8), Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    left = erase(canvas, np.array([5], np.uint8), Region(0, 0, 4, 4), none)
    assert left.boxes.shape == (0, 4) and not len(left.labels) and left.masks is None
    assert canvas.sum() == 5 * 16
