"""Norm factory and the quick gradient of group normalisation."""

from __future__ import annotations

import pytest
import torch
from timm.layers import GroupNormAct
from torch import nn

from nasdet.models import build_detector
from nasdet.models.blocks import BLOCKS
from nasdet.models.norm import ACTIVATIONS, FastGroupNormAct, NoNormAct, group_count, make_norm_act
from nasdet.space.backbones import StagedSpec
from nasdet.space.specs import DetectorSpec, NormSpec


@pytest.mark.parametrize("channels", [1, 3, 8, 24, 48, 50, 64, 97, 256])
@pytest.mark.parametrize("groups", [1, 16, 32])
def test_groups_divide_and_hold_several_channels(channels: int, groups: int) -> None:
    found = group_count(channels, groups)
    assert channels % found == 0 and found <= groups
    assert found == 1 or channels // found >= 4


@pytest.mark.parametrize("kind", ["bn", "gn", "syncbn", "ln"])
@pytest.mark.parametrize("act", sorted(ACTIVATIONS))
def test_every_norm_passes_gradient(kind: str, act: str) -> None:
    layer = make_norm_act(NormSpec(kind=kind), act)(24)
    x = torch.randn(4, 24, 5, 5, requires_grad=True)
    layer(x).square().sum().backward()
    assert x.grad is not None and layer.weight.grad is not None and x.grad.abs().sum() > 0
    assert isinstance(make_norm_act(NormSpec(kind=kind), act)(24, apply_act=False).act, torch.nn.Identity)


def test_layer_norm_is_over_the_channels_of_a_position() -> None:
    torch.manual_seed(0)
    y = make_norm_act(NormSpec(kind="ln"), "relu")(24, apply_act=False)(torch.randn(2, 24, 3, 4) * 5 + 3)
    torch.testing.assert_close(y.mean(1), torch.zeros(2, 3, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(1, correction=0), torch.ones(2, 3, 4), atol=1e-3, rtol=0)


@pytest.mark.parametrize("block", BLOCKS)
def test_without_norms_every_convolution_has_a_bias(block: str) -> None:
    detector = build_detector(DetectorSpec(norm=NormSpec(kind="none"), backbone=StagedSpec(block=block)))
    assert all(m.bias is not None for m in detector.modules() if isinstance(m, nn.Conv2d))
    assert {name.rsplit(".", 1)[-1] for name, _ in detector.named_parameters()} == {"weight", "bias"}
    assert all(p.ndim == 4 for name, p in detector.named_parameters() if name.endswith("weight"))
    assert any(isinstance(m, NoNormAct) for m in detector.modules())
    detector(torch.rand(2, 3, 96, 96) * 255).scores.sum().backward()
    assert all(p.grad is not None for n, p in detector.backbone.named_parameters() if n.endswith("bias"))


def test_weight_standardisation_without_a_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a norm"):
        NormSpec(kind="none", weight_standardization=True)


@pytest.mark.parametrize(("shape", "groups"), [((3, 24, 7, 5), 6), ((2, 64, 8, 8), 16), ((1, 8, 3, 3), 1)])
def test_group_norm_gradient_equals_torch(shape: tuple[int, ...], groups: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64).add(1).contiguous(memory_format=torch.channels_last)
    grad = torch.randn(shape, dtype=torch.float64)
    results = []
    for kind in (GroupNormAct, FastGroupNormAct):
        layer = kind(shape[1], num_groups=groups, apply_act=False).double()
        with torch.no_grad():
            layer.weight.copy_(torch.linspace(-1, 2, shape[1]))
        leaf = x.clone().requires_grad_()
        layer(leaf).backward(grad)
        results.append((leaf.grad, layer.weight.grad, layer.bias.grad))
    for ours, torchs in zip(*results, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-9, atol=1e-12)


def test_group_norm_in_bfloat16_is_close() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 32, 16, 16).contiguous(memory_format=torch.channels_last)
    layer = FastGroupNormAct(32, num_groups=8, apply_act=False)
    grads = []
    for dtype in (torch.float32, torch.bfloat16):
        leaf = x.detach().to(dtype).clone().requires_grad_()
        layer(leaf).backward(x.roll(1, 0).to(dtype))
        grads.append(leaf.grad.float())  # type: ignore[union-attr]
    assert (grads[0] - grads[1]).abs().max() < 0.02 * grads[0].abs().max()
