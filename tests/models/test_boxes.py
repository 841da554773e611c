"""Box arithmetic is torchvision's, bit by bit where torchvision has it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import _utils
from torchvision.ops import box_iou, generalized_box_iou

from nasdet.models.boxes import BoxCoder, giou, iou, make_points, to_boxes, to_distances


def _boxes(count: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 90
    return torch.cat([corner, corner + 2 + 100 * torch.rand(count, 2, generator=generator)], -1).to(dtype)


def test_giou_is_torchvisions() -> None:
    a, b = _boxes(50, 0), _boxes(50, 1)
    wanted = generalized_box_iou(a, b).diag()
    torch.testing.assert_close(giou(a, b), wanted)
    assert wanted.min() < 0 < wanted.max()


def test_iou_is_torchvisions_for_every_broadcast() -> None:
    a, b = _boxes(20, 0), _boxes(50, 1)
    assert torch.equal(iou(a[:, None], b), box_iou(a, b))
    batch = iou(a.view(2, 10, 1, 4), b.view(2, 1, 25, 4))
    assert torch.equal(batch[1], box_iou(a[10:], b[25:]))
    assert torch.equal(iou(a, a), torch.ones(20))
    apart = torch.tensor([[0.0, 0, 5, 5]]), torch.tensor([[5.0, 0, 9, 5], [7, 7, 9, 9]])
    assert iou(*apart).tolist() == [0, 0] and not iou(torch.zeros(1, 4), torch.zeros(1, 4)).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (10.0, 5.0), (1 / 0.1, 1 / 0.2)])
def test_codes_are_torchvisions(weights: tuple[float, float], dtype: torch.dtype) -> None:
    theirs = _utils.BoxCoder((weights[0], weights[0], weights[1], weights[1]))
    ours, boxes, anchors = BoxCoder(*weights), _boxes(40, 2, dtype), _boxes(40, 3, dtype)
    codes = ours.encode(boxes, anchors)
    assert torch.equal(codes, theirs.encode_single(boxes, anchors))
    torch.testing.assert_close(ours.decode(codes, anchors), boxes)
    wild = 4 * torch.randn(40, 3, 4, dtype=dtype) * weights[1]  # growth beyond the limit, three codes for each anchor
    found = ours.decode(wild, anchors[:, None])
    assert torch.equal(found, theirs.decode_single(wild.flatten(1), anchors).view(40, 3, 4))
    assert (found[..., 2:] - found[..., :2]).amax() <= 1000 / 16 * 102 * (1 + 1e-6)


def test_distances_and_boxes_are_inverse() -> None:
    points, strides = make_points([(2, 3), (1, 2)], [8, 16], torch.zeros(()))
    assert points.tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [8, 8], [24, 8]]
    assert strides.tolist() == [8] * 6 + [16] * 2
    boxes = _boxes(8, 4)
    torch.testing.assert_close(to_boxes(points, to_distances(points, boxes)), boxes)
