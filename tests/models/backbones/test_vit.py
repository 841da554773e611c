"""Plain vision transformers: published size, levels at any image size, positions, global blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision

from nasdet.models import build_detector
from nasdet.models.activation_checkpointing import set_recompute
from nasdet.models.backbones.vit import VitBackbone, VitTrunk
from nasdet.models.costs import count_macs, count_params
from nasdet.models.layers import Layers
from nasdet.space.necks import PyramidSpec
from nasdet.space.specs import DetectorSpec, NormSpec
from nasdet.space.timm_backbones import VitSpec

TINY: dict[str, Any] = {"embed_dim": 16, "depth": 8, "heads": 2, "window": 3, "grid": 4}
SIZES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}


def make(wanted: tuple[int, ...] = (-4, -3, -2, -1), norm: str = "gn", **fields: Any) -> VitBackbone:
    torch.manual_seed(0)
    layers = Layers.of(DetectorSpec(norm=NormSpec(kind=norm)))
    return VitBackbone(VitSpec.model_validate({**TINY, **fields}), 3, wanted, layers)


@pytest.mark.parametrize("size", SIZES)
def test_the_trunk_is_timms(size: str) -> None:
    """But for the class token with its position and the last norm, which detection does not use."""
    width, depth, heads = SIZES[size]
    with torch.device("meta"):
        ours = VitTrunk(VitSpec(embed_dim=width, depth=depth, heads=heads), 3, depth=depth)
        theirs = timm.create_model(f"vit_{size}_patch16_224", num_classes=0)
    assert count_params(theirs) - count_params(ours) == 4 * width
    assert count_params(ours) == pytest.approx(count_params(theirs), rel=0.01)
    extra = {"cls_token", "norm.weight", "norm.bias"}
    assert set(theirs.state_dict()) - extra == set(ours.state_dict())


def test_with_timms_weights_the_features_are_timms() -> None:
    theirs = timm.models.VisionTransformer(
        img_size=64, embed_dim=16, depth=8, num_heads=2, class_token=False, num_classes=0, global_pool=""
    ).eval()
    ours = make((-4, -2, -1), window=0).eval()
    ours.trunk.load_state_dict({n: v for n, v in theirs.state_dict().items() if n not in ("norm.weight", "norm.bias")})
    images = torch.randn(2, 3, 64, 64)
    expected = theirs.forward_intermediates(images, indices=[1, 5, 7], intermediates_only=True, norm=False)
    taps = ours.trunk(images, [1, 5, 7])
    for number, features in zip([1, 5, 7], expected, strict=True):
        torch.testing.assert_close(taps[number].permute(0, 3, 1, 2), features)
    torch.testing.assert_close(ours(images)[1], expected[1])


@pytest.mark.parametrize("position", ["absolute", "relative", "both", "none"])
@pytest.mark.parametrize("size", [(64, 64), (96, 160), (100, 36), (17, 200)])
def test_any_image_size_gives_levels_of_the_published_strides(position: str, size: tuple[int, int]) -> None:
    backbone = make(position=position)
    images = torch.randn(2, 3, *size)
    levels = backbone(images)
    assert backbone.strides == (4, 8, 16, 32) and backbone.channels == (16,) * 4
    assert [tuple(x.shape) for x in levels] == [(2, 16, -(-size[0] // s), -(-size[1] // s)) for s in backbone.strides]
    sum(x.square().mean() for x in levels).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())


def test_what_lies_behind_the_wanted_levels_is_not_built() -> None:
    assert len(make((-4, -3)).trunk.blocks) == 4
    assert len(make((-4, -3), taps="last").trunk.blocks) == 8
    assert make((-3, -1), patch=8).strides == (4, 16)


@pytest.mark.parametrize(
    ("depth", "count", "ends"), [(12, 4, [2, 5, 8, 11]), (24, 4, [5, 11, 17, 23]), (6, 4, [0, 2, 3, 5]), (3, 0, [])]
)
def test_global_blocks_end_equal_parts(depth: int, count: int, ends: list[int]) -> None:
    blocks = make(depth=depth, global_blocks=count).trunk.blocks
    assert [n for n, block in enumerate(blocks) if block.window == 0] == ends
    assert not any(block.window for block in make(window=0).trunk.blocks)


def test_positions_are_interpolated() -> None:
    """A smooth embedding keeps its values at twice the size, and at its own size it is untouched."""
    trunk = make((-1,)).trunk.eval()
    rows = torch.arange(4.0).repeat_interleave(4)
    with torch.no_grad():
        trunk.pos_embed.copy_(rows[None, :, None].expand(1, 16, 16))
        trunk.patch_embed.proj.weight.zero_()
        trunk.patch_embed.proj.bias.zero_()
        trunk.blocks = torch.nn.ModuleList([torch.nn.Identity()])
        small, large = (trunk(torch.zeros(1, 3, s, s), [0])[0][0, :, :, 0] for s in (64, 128))
    assert torch.equal(small, rows.view(4, 4))
    torch.testing.assert_close(large[2:6, 0], torch.tensor([0.75, 1.25, 1.75, 2.25]), atol=0.1, rtol=0)


@pytest.mark.parametrize("norm", ["bn", "gn", "none"])
def test_weights_start_as_transformers_do(norm: str) -> None:
    spec = DetectorSpec(
        backbone=VitSpec(**TINY), neck=PyramidSpec(kind="fpn", levels=(-4, -2, -1)), norm=NormSpec(kind=norm)
    )
    backbone = build_detector(spec).backbone
    for block in backbone.trunk.blocks:
        assert block.mlp.fc1.weight.detach().abs().max() <= 0.04 and not block.mlp.fc1.bias.any()
    assert 0.01 < float(backbone.trunk.pos_embed.detach().std()) < 0.03
    assert float(backbone.maps[0][0].weight.detach().std()) == pytest.approx((2 / 16) ** 0.5, rel=0.1)
    assert float(make(position="both").trunk.blocks[0].rel_pos.table.detach().abs().max()) == 0


def test_recomputed_blocks_change_no_gradient() -> None:
    backbone, images = make(position="both"), torch.randn(1, 3, 80, 80)
    grads = []
    for on in (False, True):
        set_recompute(backbone, on)
        backbone.zero_grad()
        sum(x.square().mean() for x in backbone(images)).backward()
        grads.append([p.grad.clone() for p in backbone.parameters()])
    torch.testing.assert_close(grads[0], grads[1])


def test_autocast_takes_masks_and_biases() -> None:
    backbone, images = make(position="both"), torch.randn(1, 3, 80, 80)
    with torch.autocast("cpu", torch.bfloat16):
        rough = backbone(images)
    for x, exact in zip(rough, backbone(images), strict=True):
        assert (x.float() - exact).abs().max() < 0.05 * exact.abs().max()


def test_onnx_gives_the_same(tmp_path: Path) -> None:
    """A windowed and a global block, padding that attention masks out, both kinds of positions, the outermost maps."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    backbone = make((-4, -1), position="both", depth=2, global_blocks=1).eval()
    image, path = torch.randn(2, 3, 80, 112), tmp_path / "vit.onnx"
    batch = torch.export.Dim("batch", min=1, max=64)
    with torch.no_grad():
        torch.onnx.export(backbone, (image,), path, dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = torch.randn(3, 3, 80, 112)
    outputs = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    for ours, theirs in zip(backbone(images), outputs, strict=True):
        torch.testing.assert_close(ours.detach(), torch.from_numpy(theirs), atol=1e-4, rtol=1e-3)


def test_attention_is_counted() -> None:
    """ViT-B at 224 as torchvision states it, with a class token and a classifier."""
    published = torchvision.models.ViT_B_16_Weights.IMAGENET1K_V1.meta["_ops"]
    with torch.device("meta"):
        trunk = VitTrunk(VitSpec(window=0), 3, depth=12)
        image = torch.empty(1, 3, 224, 224)
    assert count_macs(trunk, lambda: trunk(image, [11])) == pytest.approx(published * 1e9, rel=0.01)


def test_every_combination_of_a_search_builds() -> None:
    blocks = make(heads=5, depth=3, global_blocks=7).trunk.blocks
    assert {block.attn.num_heads for block in blocks} == {4} and not any(block.window for block in blocks)
