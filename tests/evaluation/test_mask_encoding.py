"""Soft masks of boxes become COCO codes of images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch.nn import functional

from nasdet.evaluation import paste
from nasdet.evaluation.mask_encoding import encode


@pytest.mark.parametrize("place", [(0, 0), (3, 7), (30, 40)])
@pytest.mark.parametrize("seed", range(4))
def test_code_is_that_of_pycocotools(seed: int, place: tuple[int, int]) -> None:
    part = np.random.default_rng(seed).random((10, 20)) > (0.5, 0.1, 0.9, 2.0)[seed]
    whole = np.zeros((40, 60), np.uint8, order="F")
    whole[place[0] : place[0] + 10, place[1] : place[1] + 20] = part
    code, expected = encode(part, *place, 40, 60), coco_mask.encode(whole)
    assert code == {"size": expected["size"], "counts": expected["counts"]}


def test_full_mask_fills_its_box() -> None:
    boxes = np.array([[10, 5, 30, 25], [-5, -5, 4, 6], [50, 30, 90, 80], [70, 5, 80, 9], [0, 0, 60, 40]], float)
    codes = paste(np.ones((5, 28, 28), np.float32), boxes, 40, 60)
    found = [coco_mask.toBbox(code).tolist() for code in codes]
    assert found == [[10, 5, 20, 20], [0, 0, 4, 6], [50, 30, 10, 10], [0, 0, 0, 0], [0, 0, 60, 40]]
    assert [int(coco_mask.area(code)) for code in codes] == [400, 24, 100, 0, 2400]


@pytest.mark.parametrize("seed", range(6))
def test_pixels_are_those_of_grid_sample(seed: int) -> None:
    rng = np.random.default_rng(seed)
    soft = rng.random((3, 28, 28), dtype=np.float32)
    corner = rng.uniform(-10, 40, (3, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 50, (3, 2))], 1)
    y, x = (np.arange(size)[:, None] + 0.5 for size in (50, 70))
    for code, mask, (x1, y1, x2, y2) in zip(paste(soft, boxes, 50, 70), soft, boxes, strict=True):
        down, across = 2 * (y - y1) / (y2 - y1) - 1, 2 * (x.T - x1) / (x2 - x1) - 1  # -1..1 over the box
        grid = torch.from_numpy(np.stack(np.broadcast_arrays(across, down), -1)).float()[None]
        seen = functional.grid_sample(torch.from_numpy(mask)[None, None], grid, align_corners=False)[0, 0].numpy()
        clear = abs(seen - 0.5) > 1e-4
        np.testing.assert_array_equal(coco_mask.decode(code).astype(bool)[clear], (seen > 0.5)[clear])


def test_no_masks_no_codes() -> None:
    assert paste(np.zeros((0, 28, 28)), np.zeros((0, 4)), 40, 60) == ()
