"""Matches of anchors with objects against torchvision's, and what is drawn of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from nasdet.models.heads.anchors import cell_anchors, place_anchors
from nasdet.models.heads.base import Targets
from nasdet.models.heads.matching import NEGATIVE, POSITIVE, draw, match
from nasdet.models.heads.retinanet import octave_sizes

STRIDES = (8, 16, 32, 64, 128)
ANCHORS = place_anchors(
    [(128 // s, 256 // s) for s in STRIDES], STRIDES, cell_anchors(octave_sizes(STRIDES, 4.0, 3), (0.5, 1.0, 2.0))
)
BACKGROUND, BETWEEN = -1, -2  # torchvision's numbers


def found(anchors: Tensor, boxes: Tensor, labels: Tensor, high: float, low: float) -> Tensor:
    """The object of each anchor, or torchvision's number for none, of a batch of one image."""
    (objects,), (state,) = match(anchors, Targets(boxes[None], labels[None]), positive=high, negative=low, rescue=True)
    return torch.where(state == POSITIVE, objects, torch.where(state == NEGATIVE, BACKGROUND, BETWEEN))


def _boxes(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 90
    return torch.cat([corner, corner + 4 + 100 * torch.rand(count, 2, generator=generator)], -1)


@pytest.mark.parametrize(("high", "low"), [(0.5, 0.4), (0.7, 0.3), (0.6, 0.6)])
def test_matches_are_those_of_torchvision(high: float, low: float) -> None:
    anchors, boxes = ANCHORS, _boxes(20)
    wanted = Matcher(high, low, allow_low_quality_matches=True)(box_iou(boxes, anchors))
    labels = torch.zeros(20, dtype=torch.long)
    ours = found(anchors, boxes, labels, high, low)
    assert torch.equal(ours, wanted) and (ours >= 0).any() and (ours == BACKGROUND).any()
    padded = torch.cat([boxes, torch.zeros(5, 4)]), torch.cat([labels, torch.full((5,), -1)])
    assert torch.equal(found(anchors, *padded, high, low), wanted)


def test_anchors_in_a_region_to_ignore_are_no_background() -> None:
    anchors = torch.tensor([[0.0, 0, 20, 20], [30, 0, 50, 20], [12, 0, 32, 20], [60, 60, 80, 80]])
    boxes, labels = torch.tensor([[0.0, 0, 20, 20], [0, 0, 25, 40]]), torch.tensor([1, -2])
    assert found(anchors, boxes, labels, 0.5, 0.4).tolist() == [0, BACKGROUND, BETWEEN, BACKGROUND]


def test_a_box_that_no_anchor_overlaps_takes_none() -> None:
    anchors, box = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8]]), torch.tensor([[40.0, 40, 41, 41]])
    assert found(anchors, box, torch.tensor([0]), 0.5, 0.4).tolist() == [BACKGROUND, BACKGROUND]


def test_each_image_has_its_own_boxes_and_objects() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [50, 50, 60, 60]], [[50.0, 50, 60, 60], [0, 0, 10, 10]]])
    targets = Targets(torch.tensor([[[0.0, 0, 10, 9]]] * 2), torch.zeros(2, 1, dtype=torch.long))
    assert match(boxes, targets, positive=0.5, negative=0.5).state.tolist() == [[1, 0], [0, 1]]
    assert match(boxes, targets, positive=0.95, negative=0.5).state.tolist() == [[-1, 0], [0, -1]]


def test_draws_fill_up_with_negatives() -> None:
    state = torch.tensor([[1] * 10 + [0] * 10 + [-1] * 5, [1, *[0] * 20, *[-1] * 4]])
    drawn = draw(state, 8, 0.25)
    for row, positives in ((0, 2), (1, 1)):
        assert (drawn[row] & (state[row] == 1)).sum() == positives
        assert (drawn[row] & (state[row] == 0)).sum() == 8 - positives
    few = draw(state, 100, 0.5)
    assert (few == (state >= 0)).all()
