"""Anchors and their matches against torchvision's."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import _default_anchorgen
from torchvision.ops import box_iou

from nasdet.models.heads.anchors import BACKGROUND, BETWEEN, cell_anchors, match_anchors, place_anchors

STRIDES = (8, 16, 32, 64, 128)


def _anchors(strides: tuple[int, ...] = STRIDES, canvas: tuple[int, int] = (128, 256)) -> torch.Tensor:
    sizes = [(canvas[0] // s, canvas[1] // s) for s in strides]
    return place_anchors(sizes, strides, cell_anchors(strides, 4.0, 3, (0.5, 1.0, 2.0)))


def _boxes(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 90
    return torch.cat([corner, corner + 4 + 100 * torch.rand(count, 2, generator=generator)], -1)


def test_anchors_are_those_of_torchvision() -> None:
    features = [torch.zeros(1, 1, 128 // s, 256 // s) for s in STRIDES]
    generator: AnchorGenerator = _default_anchorgen()
    (wanted,) = generator(ImageList(torch.zeros(1, 3, 128, 256), [(128, 256)]), features)
    assert torch.equal(_anchors(), wanted)


def test_cells_follow_scale_sizes_and_ratios() -> None:
    cells = cell_anchors((8, 16), 2.0, 2, (0.25, 4.0))
    width, height = (cells[..., 2:] - cells[..., :2]).unbind(-1)
    assert width.tolist() == [[32, 44, 8, 12], [64, 90, 16, 22]]
    assert torch.equal(width.flip(1).reshape(2, 2, 2).flip(2).flatten(1), height)


@pytest.mark.parametrize(("high", "low"), [(0.5, 0.4), (0.7, 0.3), (0.6, 0.6)])
def test_matches_are_those_of_torchvision(high: float, low: float) -> None:
    anchors, boxes = _anchors(), _boxes(20)
    wanted = Matcher(high, low, allow_low_quality_matches=True)(box_iou(boxes, anchors))
    labels = torch.zeros(20, dtype=torch.long)
    ours = match_anchors(anchors, boxes, labels, high, low)
    assert torch.equal(ours, wanted) and (ours >= 0).any() and (ours == BACKGROUND).any()
    padded = torch.cat([boxes, torch.zeros(5, 4)]), torch.cat([labels, torch.full((5,), -1)])
    assert torch.equal(match_anchors(anchors, *padded, high, low), wanted)


def test_anchors_in_a_region_to_ignore_are_no_background() -> None:
    anchors = torch.tensor([[0.0, 0, 20, 20], [30, 0, 50, 20], [12, 0, 32, 20], [60, 60, 80, 80]])
    boxes, labels = torch.tensor([[0.0, 0, 20, 20], [0, 0, 25, 40]]), torch.tensor([1, -2])
    assert match_anchors(anchors, boxes, labels, 0.5, 0.4).tolist() == [0, BACKGROUND, BETWEEN, BACKGROUND]


def test_a_box_that_no_anchor_overlaps_takes_none() -> None:
    anchors, box = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8]]), torch.tensor([[40.0, 40, 41, 41]])
    assert match_anchors(anchors, box, torch.tensor([0]), 0.5, 0.4).tolist() == [BACKGROUND, BACKGROUND]
