"""Strided 1x1 convolutions stay what they were; standardised weights: who has them, and that baking changes nothing."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import StdConv2d
from torch import nn

from nasdet.models import build_detector, fold_norms
from nasdet.models.blocks import BLOCKS
from nasdet.models.convolutions import (
    StandardizedConv2d,
    StandardizedPointwise,
    StridedPointwise,
    avoid_strided_pointwise,
    bake_standardized,
    standardize_weights,
    standardized,
)
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.specs import DetectorSpec, NormSpec


def _spec(kind: str = "gn", block: str = "basic") -> DetectorSpec:
    stages = (StageSpec(width=8), StageSpec(width=16), StageSpec(width=16))
    backbone = StagedSpec(stem="conv3x3", stem_width=8, block=block, stages=stages)
    return DetectorSpec(backbone=backbone, norm=NormSpec(kind=kind, weight_standardization=True))


def test_weights_have_mean_0_and_variance_1_per_output_channel() -> None:
    weight = standardized(torch.rand(5, 3, 3, 3, dtype=torch.float64) * 4 + 2)
    torch.testing.assert_close(weight.mean((1, 2, 3)), torch.zeros(5, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(
        weight.var((1, 2, 3), correction=0), torch.ones(5, dtype=torch.float64), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(3, 1, 1), (3, 2, 2), (1, 1, 1), (1, 2, 1)])
def test_equals_timm_forward_and_backward(kernel: int, stride: int, groups: int) -> None:
    torch.manual_seed(0)
    theirs = StdConv2d(8, 6, kernel, stride, groups=groups).double()
    ours = nn.Sequential(nn.Conv2d(8, 6, kernel, stride, kernel // 2, groups=groups, bias=False).double())
    ours[0].load_state_dict(theirs.state_dict())
    standardize_weights(ours)
    x = torch.randn(2, 8, 7, 7, dtype=torch.float64)
    expected, found = theirs(x), ours(x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    expected.square().sum().backward()
    found.square().sum().backward()
    torch.testing.assert_close(ours[0].weight.grad, theirs.weight.grad, rtol=1e-9, atol=1e-9)


def test_convolutions_that_a_norm_follows_and_no_other() -> None:
    detector = build_detector(_spec())
    convs = [m for m in detector.modules() if isinstance(m, nn.Conv2d)]
    assert all(isinstance(m, StandardizedConv2d) == (m.bias is None) for m in convs)
    assert any(m.bias is not None for m in convs)  # the predicting ones
    assert any(isinstance(m, StandardizedPointwise) for m in convs)
    plain = _spec().model_copy(update={"norm": NormSpec()})
    assert detector.state_dict().keys() == build_detector(plain).state_dict().keys()


def test_a_single_weight_per_channel_has_no_variance_and_stays() -> None:
    layers = nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), nn.Conv2d(4, 4, 1, groups=4, bias=False))
    standardize_weights(layers)
    assert [type(m) for m in layers] == [nn.Conv2d, nn.Conv2d]


@pytest.mark.parametrize(
    ("kind", "block"), [*(("gn", block) for block in BLOCKS), ("ln", "basic"), ("bn", "elan"), ("syncbn", "bottleneck")]
)
def test_folding_bakes_the_weights_in(kind: str, block: str) -> None:
    torch.manual_seed(0)
    detector, images = build_detector(_spec(kind, block)).double(), torch.rand(2, 3, 64, 64) * 255
    with torch.no_grad():
        for _ in range(2):
            detector(images)
        folded = fold_norms(detector)
        wanted, found = detector.eval()(images), folded(images)
    torch.testing.assert_close(found.scores, wanted.scores, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(found.boxes, wanted.boxes, atol=1e-9, rtol=1e-9)
    assert not any(isinstance(m, StandardizedConv2d) for m in folded.modules())
    assert any(isinstance(m, StandardizedConv2d) for m in detector.modules())


def test_baking_twice_is_baking_once() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(4, 4, 3, bias=False))
    standardize_weights(layer)
    bake_standardized(layer)
    once = copy.deepcopy(layer)
    bake_standardized(layer)
    assert torch.equal(once[0].weight, layer[0].weight) and type(layer[0]) is nn.Conv2d


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("groups", [1, 2])
def test_equals_a_strided_convolution(size: int, groups: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 1, stride=2, groups=groups, dtype=torch.float64)
    x = torch.randn(3, 4, size, size, dtype=torch.float64)
    expected = conv(x)
    avoid_strided_pointwise(conv)
    assert type(conv) is StridedPointwise
    torch.testing.assert_close(conv(x), expected)


def test_detectors_hold_no_strided_pointwise_kernel() -> None:
    stages = (StageSpec(width=8), StageSpec(width=16), StageSpec(width=16))
    detector = build_detector(DetectorSpec(backbone=StagedSpec(stem="conv3x3", stem_width=8, stages=stages)))
    plain = [m for m in detector.modules() if type(m) is nn.Conv2d]
    assert not [m for m in plain if m.kernel_size == (1, 1) and max(m.stride) > 1]
    assert any(isinstance(m, StridedPointwise) for m in detector.modules())


def test_few_channels_and_an_odd_batch_train_on_two_threads() -> None:
    """What corrupted the heap with oneDNN's own strided kernel."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    conv = nn.Conv2d(8, 8, 1, stride=2).to(memory_format=torch.channels_last)
    avoid_strided_pointwise(conv)
    try:
        for _ in range(20):
            x = torch.randn(15, 8, 32, 32).contiguous(memory_format=torch.channels_last).requires_grad_()
            conv(x).square().sum().backward()
    finally:
        torch.set_num_threads(threads)
    assert conv.weight.grad is not None and torch.isfinite(conv.weight.grad).all()
