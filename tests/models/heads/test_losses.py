"""Losses against torchvision's and plain formulas over dense targets."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from nasdet.models.heads.assigner import Assignment
from nasdet.models.heads.losses import distribution_focal_loss, focal_loss, giou_loss, quality_focal_loss


def _found() -> Assignment:
    boxes = torch.tensor([[0.0, 0.0, 20.0, 20.0], [4.0, 6.0, 30.0, 18.0]])
    return Assignment(
        image=torch.tensor([0, 1]),
        point=torch.tensor([1, 3]),
        boxes=boxes,
        labels=torch.tensor([2, 0]),
        scores=torch.tensor([0.8, 0.3]),
        negatives=torch.tensor([[True] * 5, [True, False, True, False, True]]),
    )


def test_quality_focal_equals_the_dense_formula() -> None:
    torch.manual_seed(0)
    found, logits = _found(), torch.randn(2, 5, 3)
    dense = torch.zeros(2, 5, 3)
    dense[found.image, found.point, found.labels] = found.scores
    weight = found.negatives[..., None].float().expand(-1, -1, 3).clone()
    weight[found.image, found.point, found.labels] = 1
    entropy = F.binary_cross_entropy_with_logits(logits, dense, reduction="none")
    wanted = ((logits.sigmoid() - dense).square() * entropy * weight).sum()
    torch.testing.assert_close(quality_focal_loss(logits, found), wanted)


def test_giou_equals_torchvision() -> None:
    found = _found()
    points = torch.tensor([[10.0, 8.0], [12.0, 12.0]])
    distances = torch.tensor([[5.0, 4.0, 8.0, 9.0], [1.0, 2.0, 3.0, 4.0]])
    boxes = torch.cat([points - distances[:, :2], points + distances[:, 2:]], -1)
    wanted = (generalized_box_iou_loss(boxes, found.boxes) * found.scores).sum()
    torch.testing.assert_close(giou_loss(points, distances, found), wanted)


def test_distribution_focal_is_least_at_the_true_distance() -> None:
    found = _found()
    points, strides = torch.tensor([[10.0, 8.0], [12.0, 12.0]]), torch.tensor([8.0, 8.0])
    bins = torch.zeros(2, 4, 6, requires_grad=True)
    optimizer = torch.optim.Adam([bins], lr=0.3)
    for _ in range(200):
        optimizer.zero_grad()
        distribution_focal_loss(bins, points, strides, found).backward()
        optimizer.step()
    distance = (bins.softmax(-1) * torch.arange(6)).sum(-1) * 8
    wanted = torch.cat([points - found.boxes[:, :2], found.boxes[:, 2:] - points], -1)
    torch.testing.assert_close(distance.detach(), wanted, atol=0.3, rtol=0)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.5, 1.0), (0.75, 0.0)])
def test_focal_loss_equals_torchvision_with_gradient(alpha: float, gamma: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    image, place, labels = torch.tensor([0, 0, 1]), torch.tensor([1, 4, 2]), torch.tensor([2, 0, 1])
    counted = torch.ones(2, 6, dtype=torch.bool)
    counted[0, 0] = counted[1, 5] = False
    dense = torch.zeros(2, 6, 3, dtype=torch.float64)
    dense[image, place, labels] = 1
    wanted = (sigmoid_focal_loss(logits, dense, alpha, gamma) * counted[..., None]).sum((1, 2))
    ours = focal_loss(logits, image, place, labels, counted, alpha=alpha, gamma=gamma)
    torch.testing.assert_close(ours, wanted)
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad((ours * weights).sum(), logits),
        torch.autograd.grad((wanted * weights).sum(), logits),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
