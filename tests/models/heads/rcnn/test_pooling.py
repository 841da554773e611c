"""Regions are pooled as torchvision pools them, each from the level of its size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, roi_pool

from nasdet.models.heads.rcnn.pooling import RoiPool

STRIDES = (4, 8, 16)
SIZE = 256


def _scene() -> tuple[list[Tensor], Tensor, Tensor]:
    torch.manual_seed(0)
    features = [torch.randn(2, 3, SIZE // s, SIZE // s) for s in STRIDES]
    corner, side = torch.rand(40, 2) * 128, torch.logspace(0.5, 2.1, 40)[:, None] * (0.5 + torch.rand(40, 2))
    return features, torch.cat([corner, (corner + side).clamp(max=SIZE)], dim=1), torch.arange(40) % 2


def test_align_equals_torchvision() -> None:
    features, boxes, images = _scene()
    theirs = MultiScaleRoIAlign(["0", "1", "2"], 7, 2)
    named = {str(i): x for i, x in enumerate(features)}
    wanted = theirs(named, [boxes[images == i] for i in range(2)], [(SIZE, SIZE)] * 2)
    ours = RoiPool("align", 7, STRIDES, 224)(features, boxes, images)
    torch.testing.assert_close(torch.cat([ours[images == i] for i in range(2)]), wanted)


def test_pool_takes_each_region_from_its_level() -> None:
    features, boxes, images = _scene()
    pool = RoiPool("pool", 5, STRIDES, 56)
    levels = pool.levels(boxes)
    assert set(levels.tolist()) == {0, 1, 2}
    for box, image, level, own in zip(boxes, images, levels, pool(features, boxes, images), strict=True):
        roi = torch.cat([image[None].float(), box])[None]
        torch.testing.assert_close(own, roi_pool(features[level], roi, (5, 5), 1 / STRIDES[level])[0])


@pytest.mark.parametrize(("side", "level"), [(20.0, 0), (111.0, 0), (113.0, 1), (225.0, 2), (449.0, 3), (2000.0, 4)])
def test_levels_of_equal_stride_are_counted_by_position(side: float, level: int) -> None:
    """DetNet's pyramid: 4, 8, 16, 16, 16."""
    pool = RoiPool("align", 7, (4, 8, 16, 16, 16), 224)
    assert pool.levels(torch.tensor([[0.0, 0.0, side, side]])).item() == level


def test_a_region_of_no_size_is_of_the_first_level() -> None:
    assert RoiPool("align", 7, STRIDES, 224).levels(torch.zeros(1, 4)).item() == 0


def test_the_meta_device_knows_the_shape() -> None:
    features = [torch.empty(1, 3, 64, 64, device="meta")] * 3
    boxes = torch.empty(9, 4, device="meta")
    pooled = RoiPool("pool", 7, STRIDES, 224)(features, boxes, torch.empty(9, device="meta"))
    assert pooled.shape == (9, 3, 7, 7) and pooled.is_meta
