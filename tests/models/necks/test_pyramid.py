"""Pyramids: the plain FPN is torchvision's."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from pydantic import ValidationError
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from nasdet.models.layers import Layers
from nasdet.models.necks.pyramid import FPN
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


@pytest.mark.parametrize("kind", ["pan", "none"])
def test_plain_is_for_fpn_alone(kind: str) -> None:
    with pytest.raises(ValidationError, match="plain is for kind fpn"):
        PyramidSpec(kind=kind, plain=True)
