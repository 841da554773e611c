"""Focal loss against torchvision's, over dense targets."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from nasdet.models.heads.focal import focal_loss


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.5, 1.0), (0.75, 0.0)])
def test_equals_torchvision_with_gradient(alpha: float, gamma: float) -> None:
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
