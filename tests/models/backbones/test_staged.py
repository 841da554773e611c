"""Staged backbones are the published networks: sizes and multiply-adds at 224 pixels."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from nasdet.models.backbones.staged import StagedBackbone
from nasdet.models.costs import count_macs, count_params
from nasdet.models.layers import Layers
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.specs import DetectorSpec, NormSpec

WIDTHS = (256, 512, 1024, 2048)
DETNET = StageSpec(depth=3, width=1024, stride=1, dilation=2)


def resnet(depths: tuple[int, ...], *tail: StageSpec, **fields: str) -> StagedSpec:
    stages = [StageSpec(depth=d, width=w, stride=1 + (w > 256)) for d, w in zip(depths, WIDTHS, strict=False)]
    return StagedSpec.model_validate(
        {"stem": "conv7x7_pool", "stem_width": 64, "block": "bottleneck", "bottleneck_ratio": 0.25, **fields}
        | {"stages": [*stages, *tail]}
    )


def meta_backbone(spec: StagedSpec) -> nn.Module:
    with torch.device("meta"):
        return StagedBackbone(spec, 3, (-1,), Layers.of(DetectorSpec(norm=NormSpec(kind="bn")))).eval()


def macs_with_classifier(spec: StagedSpec) -> int:
    """At 224 pixels, with the layer of 1000 classes that classification papers count."""
    backbone = meta_backbone(spec)
    image = torch.empty(1, 3, 224, 224, device="meta")
    return count_macs(backbone, lambda: backbone(image)) + spec.stages[-1].width * 1000


@pytest.mark.parametrize(("name", "depths"), [("resnet50", (3, 4, 6, 3)), ("resnet101", (3, 4, 23, 3))])
def test_resnets_have_the_parameters_of_torchvision(name: str, depths: tuple[int, ...]) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None)
    theirs.fc = nn.Identity()
    assert count_params(meta_backbone(resnet(depths))) == count_params(theirs)


def test_the_place_of_the_stride_changes_the_work_and_no_parameter() -> None:
    in_3x3, in_1x1 = resnet((3, 4, 6, 3)), resnet((3, 4, 6, 3), stride_in="1x1")
    assert count_params(meta_backbone(in_3x3)) == count_params(meta_backbone(in_1x1)) == 23_508_032
    assert macs_with_classifier(in_3x3) == pytest.approx(4.09e9, rel=0.002)
    assert macs_with_classifier(in_1x1) == pytest.approx(3.86e9, rel=0.002)


def test_the_place_of_the_stride_keeps_the_levels() -> None:
    spec = resnet((1, 1), stride_in="1x1")
    backbone = StagedBackbone(spec, 3, (-2, -1), Layers.of(DetectorSpec()))
    assert [x.shape[-1] for x in backbone(torch.rand(1, 3, 66, 66))] == [17, 9]


def test_detnet_59() -> None:
    """4.8 GFLOPs (Li et al. 2018, table 2), which fits 256 inner and 1024 outer channels in stages 5 and 6."""
    spec = resnet((3, 4, 6), DETNET, DETNET, stride_in="1x1")
    assert spec.strides == (4, 8, 16, 16, 16)
    assert macs_with_classifier(spec) == pytest.approx(4.8e9, rel=0.015)
    convs = [m for m in meta_backbone(spec).modules() if isinstance(m, nn.Conv2d)]
    assert sum(c.dilation == (2, 2) for c in convs) == 6
    depth = sum(c.kernel_size == (3, 3) for c in convs) * 3 + 1 + 1  # bottlenecks, stem, classifier
    assert depth == 59


def test_a_stage_may_have_a_ratio_of_its_own() -> None:
    own = StagedSpec(block="bottleneck", stages=(StageSpec(width=64), StageSpec(width=64, bottleneck_ratio=1.0)))
    kernels = [m.weight.shape[0] for m in meta_backbone(own).stages.modules() if getattr(m, "kernel_size", 0) == (3, 3)]
    assert kernels == [32, 64]
    csp = StagedSpec(block="csp", stages=(StageSpec(width=64, bottleneck_ratio=2.0),))
    plain = StagedSpec(block="csp", stages=(StageSpec(width=64),))
    assert count_params(meta_backbone(csp)) > count_params(meta_backbone(plain))


def test_specifications_from_before_the_new_fields_are_valid() -> None:
    tree = StagedSpec().to_json()
    del tree["stride_in"]
    for stage in tree["stages"]:
        del stage["bottleneck_ratio"]
    assert StagedSpec.model_validate(tree) == StagedSpec()
