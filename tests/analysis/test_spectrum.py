from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from nasdet.analysis.spectrum import Moments, intrinsic_dimension, measure_spectrum, watched_layers
from nasdet.data import eval_loader, open_data
from nasdet.export import Bundle
from nasdet.models import build_detector
from nasdet.space.backbones import DsodSpec, PeleeSpec, StagedSpec, StageSpec, VggSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.spec_base import Spec
from nasdet.space.specs import DetectorSpec, InputSpec
from nasdet.space.timm_backbones import TimmSpec, VitSpec


def batches(size: int = 8, images: int = 24) -> list[Tensor]:
    pixels = open_data("digits").cached("val", 64, 64)
    loader = eval_loader(pixels, batch_size=size, fill=(60.0,))
    return [batch.images for batch in loader][: math.ceil(images / size)]


def test_equal_to_all_features_held_in_memory(digits_bundle: Bundle) -> None:
    """A trained detector's layers, against numpy's covariance of every feature of every image."""
    detector = digits_bundle.load_detector()
    spectra = measure_spectrum(detector, batches())
    held: dict[str, list[np.ndarray]] = {}

    def keep(name: str, features: Tensor) -> None:
        held.setdefault(name, []).append(features.permute(1, 0, 2, 3).flatten(1).double().numpy())

    for name, layer in watched_layers(detector):
        layer.register_forward_hook(lambda module, inputs, output, name=name: keep(name, output))
    with torch.no_grad():
        for images in batches():
            for number, level in enumerate(detector.features(images)):
                keep(f"neck.{number}", level)
    assert [s.layer for s in spectra] == list(held)
    for spectrum in spectra:
        dense = np.concatenate(held[spectrum.layer], axis=1)
        wanted = np.linalg.eigvalsh(np.cov(dense, bias=True))[::-1]
        uncentred = np.linalg.eigvalsh(dense @ dense.T / dense.shape[1])[::-1]
        assert spectrum.positions == dense.shape[1]
        np.testing.assert_allclose(spectrum.eigenvalues, wanted, rtol=1e-6, atol=1e-12 * wanted[0])
        np.testing.assert_allclose(spectrum.uncentred, uncentred, rtol=1e-6, atol=1e-12 * uncentred[0])
        for energy in (0.9, 0.99):
            assert spectrum.dimension(energy) == intrinsic_dimension(wanted, energy)
    assert {s.layer for s in spectra} >= {"backbone.stem", "backbone.stages.0", "backbone.stages.1", "neck.0", "neck.1"}


def test_batches_do_not_matter(digits_bundle: Bundle) -> None:
    detector = digits_bundle.load_detector()
    for one, other in zip(*(measure_spectrum(detector, batches(size)) for size in (24, 6)), strict=True):
        assert (one.layer, one.positions) == (other.layer, other.positions)
        np.testing.assert_allclose(one.eigenvalues, other.eigenvalues, rtol=1e-4, atol=1e-6 * one.eigenvalues[0])


def test_a_large_mean_costs_no_digits() -> None:
    rows = torch.randn(40_000, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e6
    moments = Moments(5, torch.device("cpu"))
    for part in rows.split(777):
        moments.add(part)
    np.testing.assert_allclose(moments.covariance(), np.cov(rows.T.numpy(), bias=True), rtol=1e-8, atol=1e-9)


def test_dimension_counts_eigenvalues() -> None:
    values = np.array([90.0, 8.0, 1.0, 0.5, 0.5])
    assert [intrinsic_dimension(values, energy) for energy in (0.9, 0.91, 0.99, 1.0)] == [1, 2, 3, 5]
    assert intrinsic_dimension(np.zeros(4), 0.9) == 0


BACKBONES: dict[str, tuple[Spec, set[str]]] = {
    "basic": (
        StagedSpec(stages=(StageSpec(width=16), StageSpec(width=24, depth=2))),
        {"stem.0", "stem", "stages.0", "stages.1.0", "stages.1"},
    ),
    "csp": (
        StagedSpec(block="csp", stages=(StageSpec(width=16), StageSpec(width=24, depth=2))),
        {"stages.1.blocks.0", "stages.1.blocks.1", "stages.1"},
    ),
    "elan": (
        StagedSpec(block="elan", stages=(StageSpec(width=16), StageSpec(width=24, depth=2))),
        {"stages.1.blocks.0", "stages.1.blocks.1", "stages.1"},
    ),
    "dsod": (DsodSpec(stem_width=8, growth_rate=8, depths=(1, 2, 1)), {"blocks.1.layers.1", "blocks.1", "blocks.2"}),
    "vgg": (VggSpec(widths=(8, 8, 8, 8, 8), fc_width=16), {"blocks.0", "blocks.2.1", "blocks.4"}),
    "pelee": (PeleeSpec(depths=(1, 2)), {"stem", "blocks.0", "blocks.1.0", "blocks.1.1", "blocks.1"}),
    "resnet": (TimmSpec(name="resnet10t"), {"net.layer1", "net.layer4"}),
    "efficientnet": (TimmSpec(name="mobilenetv3_small_050"), {"net.blocks.0", "net.blocks.1", "net.blocks.1.0"}),
    "convnext": (TimmSpec(name="convnext_atto"), {"net.stages_1", "net.stages_2.blocks.0"}),
    "channels last": (TimmSpec(name="mambaout_femto"), {"net.stages_1", "net.stages_2.blocks.0"}),
    "vit": (VitSpec(embed_dim=24, depth=4, heads=2, grid=4), {"trunk.blocks.0", "trunk.blocks.3"}),
}


@pytest.mark.parametrize("kind", BACKBONES)
def test_every_kind_of_backbone_has_layers(kind: str) -> None:
    backbone, wanted = BACKBONES[kind]
    spec = DetectorSpec(
        input=InputSpec(height=64, width=64), backbone=backbone, neck=PyramidSpec(width=16, levels=(-2, -1))
    )  # type: ignore[arg-type]
    detector = build_detector(spec).eval()
    spectra = measure_spectrum(detector, [torch.rand(2, 3, 64, 64) * 255])
    names = {s.layer.removeprefix("backbone."): s for s in spectra}
    assert set(names) >= {*wanted, "neck.0", "neck.1"}, sorted(names)
    channels = dict(zip(detector.strides, detector.backbone.channels, strict=True))
    assert {s.width for s in spectra} >= set(channels.values())
    assert all(0 <= s.dimension(0.9) <= s.dimension(0.99) <= s.width for s in spectra)
