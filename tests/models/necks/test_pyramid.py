"""Pyramids: the plain FPN is torchvision's."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from nasdet.models.layers import Layers
from nasdet.models.necks.pyramid import FPN, PAN, Laterals
from nasdet.space.necks import PyramidSpec
from nasdet.space.specs import DetectorSpec


def test_plain_fpn_equals_torchvision() -> None:
    torch.manual_seed(0)
    channels, strides = (8, 16, 24), (8, 16, 32)
    spec = PyramidSpec(kind="fpn", width=8, depth=1, extra_levels=2, plain=True)
    ours = FPN(channels, strides, spec, Layers.of(DetectorSpec()))
    theirs = FeaturePyramidNetwork(list(channels), 8, LastLevelP6P7(8, 8))
    values = [*theirs.inner_blocks.parameters(), *theirs.layer_blocks.parameters(), *theirs.extra_blocks.parameters()]
    own = [*ours.laterals.parameters(), *ours.smooth.parameters(), *ours.extra.parameters()]
    for a, b in zip(own, values, strict=True):
        a.data.copy_(b.data)
    features = [torch.randn(2, c, 64 // s, 128 // s) for c, s in zip(channels, strides, strict=True)]
    wanted = theirs(OrderedDict((str(i), x) for i, x in enumerate(features)))
    for a, b in zip(ours(features), wanted.values(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("kind", "module"), [("none", Laterals), ("fpn", FPN), ("pan", PAN)])
def test_plain_convolutions_have_a_bias_and_no_norm(kind: str, module: type[Laterals]) -> None:
    spec = PyramidSpec(kind=kind, width=8, extra_levels=2, plain=True)
    neck = module((8, 16), (8, 16), spec, Layers.of(DetectorSpec()))
    assert all(type(layer) is nn.Conv2d and layer.bias is not None for layer in (*neck.laterals, *neck.extra))
    levels = neck([torch.randn(1, 8, 16, 16), torch.randn(1, 16, 8, 8)])
    sum(x.sum() for x in levels).backward()
    assert [x.shape[-1] for x in levels] == [16, 8, 4, 2] and all(p.grad is not None for p in neck.parameters())
