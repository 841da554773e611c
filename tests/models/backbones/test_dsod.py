"""The dense backbone has the sizes of the paper's table 1, rounds up, and builds no more than is wanted."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from nasdet.models.backbones import BACKBONES
from nasdet.models.backbones.dsod import DenseLayer, DsodBackbone
from nasdet.models.costs import count_params
from nasdet.models.layers import FeatureModule, Layers
from nasdet.space.backbones import DsodSpec
from nasdet.space.specs import DetectorSpec, NormSpec

SMALL = DsodSpec(stem_width=8, bottleneck=12, growth_rate=4, depths=(1, 2, 1, 2), last_width=16)


def build(spec: DsodSpec, wanted: tuple[int, ...] = (-2, -1), norm: str = "bn") -> FeatureModule:
    layers = Layers.of(DetectorSpec(norm=NormSpec(kind=norm)))
    return BACKBONES["dsod"](spec, 3, wanted, layers)


def test_sizes_are_those_of_the_paper() -> None:
    with torch.device("meta"):
        backbone = build(DsodSpec())
        assert isinstance(backbone, DsodBackbone)
        first, second = backbone(torch.empty(2, 3, 300, 300))
        ends = [block.transition.norm.num_features for block in backbone.blocks]
    assert (first.shape, second.shape) == ((2, 800, 38, 38), (2, 256, 19, 19))
    assert ends == [416, 800, 1184, 1568]
    assert (backbone.channels, backbone.strides) == ((800, 256), (8, 16))


@pytest.mark.parametrize("stem", ["dsod", "conv7x7_pool"])
@pytest.mark.parametrize("height", [61, 64, 75])
def test_sizes_are_rounded_up(stem: str, height: int) -> None:
    backbone = build(SMALL.model_copy(update={"stem": stem}))
    levels = backbone(torch.randn(1, 3, height, 96))
    for level, channels, stride in zip(levels, backbone.channels, backbone.strides, strict=True):
        assert level.shape[1:] == (channels, -(-height // stride), -(-96 // stride))


def test_what_lies_behind_the_last_wanted_level_is_not_built() -> None:
    first, both, last = (build(SMALL, wanted) for wanted in ((-2,), (-2, -1), (-1,)))
    assert len(first(torch.randn(1, 3, 64, 64))) == len(last(torch.randn(1, 3, 64, 64))) == 1
    assert count_params(first) < count_params(both) == count_params(last)


def test_compression_and_the_width_of_the_last_transition() -> None:
    backbone = build(SMALL.model_copy(update={"compression": 0.5, "last_width": 0}))
    # 16 + 4 -> 10; 10 + 8 -> 9; 9 + 4 -> 6; 6 + 8 -> 7
    assert backbone.channels == (9, 7)


@pytest.mark.parametrize("depths", [(6, 8), (6, 8, 0, 8)])
def test_depths_reach_stride_16(depths: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError):
        DsodSpec(depths=depths)


def test_a_layer_without_a_norm_leaves_its_inputs_alone() -> None:
    layer = DenseLayer(8, SMALL, Layers.of(DetectorSpec(norm=NormSpec(kind="none"))))
    x = torch.randn(1, 8, 4, 4)
    before = x.clone()
    layer(x)
    assert torch.equal(x, before)
