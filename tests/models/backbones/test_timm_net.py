"""Networks of timm by name: levels, norms, weights of their own, plain errors."""

from __future__ import annotations

import pytest
import timm
import torch
from pydantic import ValidationError
from timm.layers import DropPath
from torch import nn

from nasdet.errors import InputError
from nasdet.models import build_detector
from nasdet.models.activation_checkpointing import set_recompute
from nasdet.models.backbones.timm_net import TimmBackbone
from nasdet.models.layers import Layers
from nasdet.models.norm import FastGroupNormAct
from nasdet.models.sync_bn import SyncBatchNormAct2d
from nasdet.space.necks import PyramidSpec
from nasdet.space.specs import DetectorSpec, NormSpec
from nasdet.space.timm_backbones import TimmSpec

FAMILIES = ("resnet18", "regnety_002", "convnext_atto", "cs3darknet_s", "mobilenetv3_small_050", "densenet121", "dla34")


def make(name: str, wanted: tuple[int, ...] = (-3, -2, -1), norm: str = "gn", **fields: int) -> TimmBackbone:
    layers = Layers.of(DetectorSpec(norm=NormSpec(kind=norm)))
    return TimmBackbone(TimmSpec(name=name, **fields), 2, wanted, layers)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        *((name, (-3, -2, -1)) for name in FAMILIES),
        *((name, (-4, -2)) for name in ("resnet18", "mobilenetv3_small_050")),
    ],
)
def test_a_network_gives_the_wanted_levels_and_nothing_behind_them(name: str, wanted: tuple[int, ...]) -> None:
    backbone = make(name, wanted)
    assert backbone.strides == tuple((4, 8, 16, 32)[w] for w in wanted)
    levels = backbone(torch.rand(2, 2, 96, 64))
    expected = [(2, c, 96 // s, 64 // s) for c, s in zip(backbone.channels, backbone.strides, strict=True)]
    assert [tuple(x.shape) for x in levels] == expected
    sum(x.square().mean() for x in levels).backward()
    assert all(p.grad is not None for p in backbone.parameters())


@pytest.mark.parametrize(("kind", "norm"), [("gn", FastGroupNormAct), ("syncbn", SyncBatchNormAct2d)])
@pytest.mark.parametrize("name", ["resnet18", "regnety_002", "mobilenetv3_small_050"])
def test_batch_norms_become_the_norm_of_the_detector(name: str, kind: str, norm: type[nn.Module]) -> None:
    backbone, own = make(name, norm=kind), timm.create_model(name, features_only=True, out_indices=(2, 3, 4))
    plain = sum(isinstance(m, nn.BatchNorm2d) for m in own.modules())
    assert sum(isinstance(m, norm) for m in backbone.modules()) == plain > 0
    others = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d) and not isinstance(m, norm)]
    assert not others


def test_with_batch_norm_the_network_is_timms_own() -> None:
    """The same weights give the same features: activations, epsilons and the start of scales were kept."""
    for name in ("resnet18", "regnety_002", "tf_efficientnet_lite0"):
        torch.manual_seed(0)
        backbone = make(name, norm="bn").eval()
        own = timm.create_model(name, features_only=True, out_indices=(2, 3, 4), in_chans=2).eval()
        state = own.state_dict()
        assert set(state) == set(backbone.net.state_dict())
        assert all(torch.equal(state[key], value) or value.ndim > 1 for key, value in backbone.net.state_dict().items())
        backbone.net.load_state_dict(state)
        images = torch.rand(1, 2, 64, 64)
        for ours, theirs in zip(backbone(images), own(images), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_the_networks_own_norms_stay_and_nothing_is_drawn_again() -> None:
    norms = {type(m).__name__ for m in make("convnext_atto").modules() if "Norm" in type(m).__name__}
    assert norms == {"LayerNorm2d"}
    spec = DetectorSpec(backbone=TimmSpec(name="convnext_atto"), neck=PyramidSpec(levels=(-2, -1)))
    weights = build_detector(spec).backbone.get_parameter("net.stages_0.blocks.0.conv_dw.weight")
    assert float(weights.detach().std()) == pytest.approx(0.02, rel=0.1)  # the family's truncated normal


def test_stochastic_depth_is_there_at_rate_0() -> None:
    rates = [m.drop_prob for m in make("regnety_002").modules() if isinstance(m, DropPath)]
    assert len(rates) > 5 and not any(rates)


@pytest.mark.parametrize("name", ["resnet18", "cs3darknet_s", "convnext_atto"])
def test_recomputed_activations_change_no_gradient(name: str) -> None:
    backbone, images = make(name, norm="bn"), torch.rand(2, 2, 64, 64)
    grads = []
    for on in (False, True):
        set_recompute(backbone, on)
        backbone.zero_grad()
        sum(x.square().mean() for x in backbone(images)).backward()
        grads.append([p.grad.clone() for p in backbone.parameters() if p.grad is not None])
    torch.testing.assert_close(grads[0], grads[1])


def test_dilated_stages_keep_the_stride() -> None:
    backbone = make("resnet18", output_stride=16)
    assert backbone.strides == (8, 16, 16)
    assert [x.shape[-1] for x in backbone(torch.rand(1, 2, 64, 64))] == [8, 4, 4]
    assert backbone.channels == (128, 256, 512)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("resnet5O", {}, "did you mean 'resnet50'"),
        ("vit_tiny_patch16_224", {}, "cannot be a backbone for images of any size|no level at stride 8"),
        ("inception_v3", {}, "no level at stride"),
        ("vgg11", {"output_stride": 8}, "output_stride 32"),
        ("swin_tiny_patch4_window7_224", {}, "images of any size"),
    ],
)
def test_what_cannot_be_a_backbone_is_one_plain_line(name: str, fields: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make(name, **fields)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("backbone.name")


def test_a_network_without_its_norms_is_refused() -> None:
    with pytest.raises(InputError, match=r"norm\.kind is none"):
        make("resnet18", norm="none")
    with torch.device("meta"):
        make("vgg11", norm="none")


@pytest.mark.parametrize("name", ["resnet50.a1_in1k", "hf-hub:timm/resnet50", "local-dir:/x"])
def test_names_of_weights_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="without tag or address"):
        TimmSpec(name=name)
