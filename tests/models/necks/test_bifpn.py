"""BiFPN: learnt fusion of levels."""

from __future__ import annotations

import pytest
import torch

from nasdet.models.layers import Layers
from nasdet.models.necks.bifpn import BiFPN, Fusion
from nasdet.space.necks import BiFpnSpec
from nasdet.space.specs import DetectorSpec

LAYERS = Layers.of(DetectorSpec())


def test_fusion_weights_are_positive_and_add_up_to_one() -> None:
    fusion = Fusion(3, 8, LAYERS)
    fusion.act = fusion.depthwise = fusion.pointwise = torch.nn.Identity()
    with torch.no_grad():
        fusion.weights.copy_(torch.tensor([3.0, -5.0, 1.0]))
    a, b, c = torch.randn(3, 1, 8, 2, 2)
    torch.testing.assert_close(fusion(a, b, c), 0.75 * a + 0.25 * c, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("strides", [(8,), (8, 16), (8, 16, 32), (4, 16), (8, 16, 16)])
@pytest.mark.parametrize("extra", [0, 2])
def test_keeps_levels_and_uses_every_weight(strides: tuple[int, ...], extra: int) -> None:
    channels = (12, 20, 28)[: len(strides)]
    neck = BiFPN(channels, strides, BiFpnSpec(width=16, repeats=2, extra_levels=extra), LAYERS)
    levels = neck([torch.randn(1, c, 128 // s, 128 // s) for c, s in zip(channels, strides, strict=True)])
    assert [tuple(x.shape[1:]) for x in levels] == [(16, 128 // s, 128 // s) for s in neck.strides]
    sum(x.sum() for x in levels).backward()
    assert all(p.grad is not None for p in neck.parameters())


def test_every_level_sees_every_other() -> None:
    neck = BiFPN((8, 8, 8), (8, 16, 32), BiFpnSpec(width=8, repeats=1), LAYERS).double()
    features = [torch.randn(1, 8, s, s, dtype=torch.float64, requires_grad=True) for s in (16, 8, 4)]
    for level in neck(features):
        for gradient in torch.autograd.grad(level.square().sum(), features, retain_graph=True):
            assert gradient.abs().sum() > 0
