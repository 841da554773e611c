"""SSD's VGG16: torchvision's network parameter by parameter, and levels of any canvas."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models.detection import ssd300_vgg16

from nasdet.models import build_detector, count_costs
from nasdet.models.activation_checkpointing import set_recompute
from nasdet.models.backbones.vgg import VggBackbone
from nasdet.models.layers import Layers
from nasdet.space.backbones import VggSpec
from nasdet.space.presets import SYSTEMS
from nasdet.space.specs import DetectorSpec, NormSpec

SMALL = VggSpec(widths=(8, 8, 16, 24, 24), depths=(1, 1, 1, 2, 1), fc_width=40, fc_dilation=2)


def _layers(norm: str = "none") -> Layers:
    return Layers.of(DetectorSpec(norm=NormSpec(kind=norm)))


@pytest.mark.parametrize("norm", ["none", "bn", "gn"])
@pytest.mark.parametrize("size", [(64, 96), (75, 50)])
def test_levels(norm: str, size: tuple[int, int]) -> None:
    backbone = VggBackbone(SMALL, 3, (-4, -2, -1), _layers(norm))
    assert backbone.channels == (8, 24, 40) and backbone.strides == (2, 8, 16)
    levels = backbone(torch.randn(2, 3, *size))
    expected = [(2, c, -(-size[0] // s), -(-size[1] // s)) for c, s in zip((8, 24, 40), (2, 8, 16), strict=True)]
    assert [tuple(x.shape) for x in levels] == expected


def test_what_lies_behind_the_last_wanted_level_is_not_built() -> None:
    backbone = VggBackbone(SMALL, 1, (-2,), _layers())
    assert len(backbone.blocks) == 4 and backbone.channels == (24,)


def test_ssd300_is_torchvisions() -> None:
    """The same convolutions in the same order give the same levels, and the whole the same size."""
    spec = SYSTEMS["ssd300_vgg16"].spec
    with torch.device("meta"):
        theirs, ours = ssd300_vgg16(weights=None, weights_backbone=None), build_detector(spec)
        shapes = [[tuple(x.shape) for x in net] for net in _levels(theirs, ours)]
    assert shapes[0] == shapes[1]
    assert count_costs(spec).params == sum(p.numel() for p in theirs.parameters())
    assert _convolutions(theirs.backbone) == _convolutions(ours.backbone) + _convolutions(ours.neck)


def test_ssd300_of_voc_has_the_size_of_the_caffe_model() -> None:
    """26.3M with 20 classes, as the literature gives for the Caffe model."""
    spec = SYSTEMS["ssd300_vgg16"].spec
    voc = spec.model_copy(update={"head": spec.head.model_copy(update={"classes": 20})})
    assert count_costs(voc).params == pytest.approx(26.3e6, rel=0.001)


def test_recomputation_gives_the_same_gradients() -> None:
    torch.manual_seed(0)
    backbone, images = VggBackbone(SMALL, 3, (-2, -1), _layers("bn")), torch.randn(2, 3, 48, 48)
    found = []
    for on in (False, True):
        set_recompute(backbone, on)
        backbone.zero_grad()
        sum(x.square().mean() for x in backbone(images)).backward()
        found.append([p.grad.clone() for p in backbone.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))


def _levels(theirs: nn.Module, ours: nn.Module) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    image = torch.empty(1, 3, 300, 300)
    return list(theirs.backbone(image).values()), ours.features(image)


def _convolutions(module: nn.Module) -> list[tuple[object, ...]]:
    convs = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    return [(tuple(c.weight.shape), c.stride, c.padding, c.dilation, c.bias is not None) for c in convs]
