"""DSOD's prediction layers halve, publish what they give, and dense ones carry every level on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nasdet.models.layers import FeatureModule, Layers
from nasdet.models.necks import NECKS
from nasdet.space.necks import DsodNeckSpec
from nasdet.space.spec_base import kinds_of
from nasdet.space.specs import DetectorSpec, NormSpec

KINDS = kinds_of(DsodNeckSpec)


def build(kind: str, channels: tuple[int, ...], strides: tuple[int, ...], **fields: object) -> FeatureModule:
    layers = Layers.of(DetectorSpec(norm=NormSpec(kind="gn", groups=2)))
    return NECKS[kind](channels, strides, DsodNeckSpec.model_validate({"kind": kind, **fields}), layers)


@pytest.mark.parametrize("kind", KINDS)
def test_six_levels_of_the_paper(kind: str) -> None:
    with torch.device("meta"):
        neck = build(kind, (800, 256), (8, 16))
        levels = neck([torch.empty(1, 800, 38, 38), torch.empty(1, 256, 19, 19)])
    second = 512 if kind == "dsod" else 256
    assert neck.channels == (800, second, 512, 256, 256, 256)
    assert [tuple(x.shape[1:]) for x in levels] == list(zip(neck.channels, *[(38, 19, 10, 5, 3, 2)] * 2, strict=True))
    assert neck.strides == (8, 16, 32, 64, 128, 256)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("channels", "strides"), [((12,), (16,)), ((8, 12), (8, 32)), ((8, 12, 20), (4, 8, 16)), ((8, 12), (16, 16))]
)
def test_other_levels_of_other_backbones(kind: str, channels: tuple[int, ...], strides: tuple[int, ...]) -> None:
    neck = build(kind, channels, strides, join_width=4, halves=[6, 4])
    features = [torch.randn(2, c, -(-100 // s), -(-70 // s)) for c, s in zip(channels, strides, strict=True)]
    for x, width, stride in zip(neck(features), neck.channels, neck.strides, strict=True):
        assert x.shape == (2, width, -(-100 // stride), -(-70 // stride))


def test_only_dense_prediction_joins_the_first_scale_to_the_second() -> None:
    for kind, reached in (("dsod", True), ("dsod_plain", False)):
        first, second = (torch.randn(1, 8, n, n, requires_grad=True) for n in (16, 8))
        levels: list[Tensor] = build(kind, (8, 8), (8, 16))([first, second])
        levels[-1].sum().backward()
        assert second.grad is not None and (first.grad is not None) == reached
