from __future__ import annotations

import numpy as np
import pytest
import torch

from nasdet.analysis.spectrum import LayerSpectrum, measure_spectrum
from nasdet.analysis.widths import suggest_widths
from nasdet.models import build_detector
from nasdet.models.costs import count_costs, count_params
from nasdet.space.backbones import PeleeSpec, StagedSpec, StageSpec, VggSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.specs import DetectorSpec, InputSpec, NormSpec

INPUT = InputSpec(height=64, width=64)


def spectrum(layer: str, width: int, used: int) -> LayerSpectrum:
    values = np.where(np.arange(width) < used, 1.0, 0.0)
    return LayerSpectrum(layer, 100, values, values)


def staged(block: str = "basic", groups: int = 1) -> DetectorSpec:
    stages = (StageSpec(width=64, stride=1), StageSpec(width=128, depth=2))
    return DetectorSpec(
        input=INPUT,
        backbone=StagedSpec(stem_width=32, block=block, groups=groups, stages=stages),  # type: ignore[arg-type]
        neck=PyramidSpec(width=48),
    )


def test_widths_follow_the_largest_dimension_of_their_layers() -> None:
    spec = staged()
    spectra = [
        spectrum("backbone.stem.0", 16, 4),  # another width: says nothing of the stem's
        spectrum("backbone.stem", 32, 32),
        spectrum("backbone.stages.0", 64, 20),
        spectrum("backbone.stages.1.0", 128, 60),
        spectrum("backbone.stages.1", 128, 75),
        spectrum("neck.0", 48, 1),
        spectrum("neck.1", 48, 17),
    ]
    suggestion = suggest_widths(spec, spectra)
    assert {w.field: (w.dimension, w.suggested) for w in suggestion.widths} == {
        "backbone.stem_width": (32, 32),
        "backbone.stages.0.width": (20, 24),
        "backbone.stages.1.width": (75, 80),
        "neck.width": (17, 24),
    }
    assert [w.field for w in suggestion.widths if w.is_full] == ["backbone.stem_width"]
    backbone = suggestion.spec.backbone
    assert isinstance(backbone, StagedSpec) and [s.width for s in backbone.stages] == [24, 80]
    assert suggestion.params == count_params(build_detector(spec))
    assert suggestion.suggested_params == count_params(build_detector(suggestion.spec)) < suggestion.params


@pytest.mark.parametrize(
    ("block", "norm"),
    [
        *((block, "gn") for block in ("basic", "bottleneck", "dark", "edge", "csp", "elan")),
        ("basic", "bn"),
        ("csp", "ln"),
    ],
)
def test_every_block_and_norm_takes_the_widths(block: str, norm: str) -> None:
    spec = staged(block, groups=4).model_copy(update={"norm": NormSpec(kind=norm)})  # type: ignore[arg-type]
    images = torch.rand(2, 3, 64, 64) * 255
    spectra = measure_spectrum(build_detector(spec).eval(), [images])
    suggestion = suggest_widths(spec, spectra)
    assert [w.field for w in suggestion.widths] == [
        "backbone.stem_width",
        "backbone.stages.0.width",
        "backbone.stages.1.width",
        "neck.width",
    ]
    assert suggestion.suggested_params < suggestion.params  # 512 positions cannot fill 128 channels evenly
    detector = build_detector(suggestion.spec)
    assert detector(images).scores.shape[0] == 2


def test_grouped_widths_are_multiples_of_the_groups() -> None:
    suggestion = suggest_widths(staged("bottleneck", groups=32), [spectrum("backbone.stages.1", 128, 40)])
    assert [w.suggested for w in suggestion.widths] == [64]


def test_no_width_grows() -> None:
    spec = DetectorSpec(input=INPUT, backbone=staged().backbone, neck=PyramidSpec(width=12))
    suggestion = suggest_widths(spec, [spectrum("neck.0", 12, 11)])
    assert [(w.dimension, w.suggested) for w in suggestion.widths] == [(11, 12)]


def test_a_dead_layer_keeps_a_width() -> None:
    suggestion = suggest_widths(staged(), [spectrum("backbone.stages.0", 64, 0)])
    assert [w.suggested for w in suggestion.widths] == [8]
    assert suggestion.suggested_params < count_costs(staged()).params


def test_vgg_has_a_width_per_block() -> None:
    spec = DetectorSpec(input=INPUT, backbone=VggSpec(widths=(16, 16, 32, 32, 32), fc_width=64))
    suggestion = suggest_widths(spec, [spectrum("backbone.blocks.2.1", 32, 9), spectrum("backbone.blocks.2", 32, 14)])
    assert [(w.field, w.suggested) for w in suggestion.widths] == [("backbone.widths.2", 16)]


def test_other_kinds_have_only_their_neck() -> None:
    spec = DetectorSpec(input=INPUT, backbone=PeleeSpec(depths=(1, 1)), neck=PyramidSpec(width=32))
    suggestion = suggest_widths(spec, [spectrum("backbone.blocks.0", 64, 9), spectrum("neck.0", 32, 9)])
    assert [(w.field, w.suggested) for w in suggestion.widths] == [("neck.width", 16)]
