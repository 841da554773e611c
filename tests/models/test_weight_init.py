"""Every way to start the weights."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from nasdet.models import build_detector
from nasdet.models.weight_init import DRAWS, initialise
from nasdet.space.specs import DetectorSpec, Recipe

EXPECTED = {  # deviation of the weight of a layer of 64 inputs, 32 outputs and 3x3 positions (linear: 1)
    "kaiming": (math.sqrt(2 / (32 * 9)), math.sqrt(2 / 64)),
    "xavier": (math.sqrt(1 / (64 * 9)), math.sqrt(1 / 64)),
    "trunc_normal": (0.0176, 0.0176),  # 0.02 without its tails
}


class Part(nn.Module):
    """A part that knows how it starts, or not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(64, 32, 3), nn.Linear(64, 32)
        self.norm = nn.GroupNorm(4, 32)


class KnowingPart(Part):
    def init_weights(self) -> None:
        nn.init.constant_(self.conv.weight, 7.0)


def _parts(head: nn.Module | None = None, backbone: nn.Module | None = None) -> nn.ModuleDict:
    return nn.ModuleDict({"backbone": backbone or Part(), "neck": Part(), "head": head or Part()})


def test_kinds_are_those_of_the_recipe() -> None:
    assert set(get_args(Recipe.model_fields["weight_init"].annotation)) == {"auto", *DRAWS} and set(EXPECTED) == set(
        DRAWS
    )


@pytest.mark.parametrize("kind", DRAWS)
def test_every_layer_has_the_expected_deviation(kind: str) -> None:
    torch.manual_seed(0)
    detector = _parts(backbone=KnowingPart())
    initialise(detector, kind)
    for part in detector.values():
        for layer, deviation in zip((part.conv, part.linear), EXPECTED[kind], strict=True):
            assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.05)
            assert not layer.bias.any()
        assert part.norm.weight.eq(1).all()


def test_auto_asks_each_part_and_draws_the_others_as_he_et_al() -> None:
    torch.manual_seed(0)
    detector = _parts(backbone=KnowingPart(), head=KnowingPart())
    before = detector["backbone"].linear.weight.clone()
    initialise(detector)
    assert detector["backbone"].conv.weight.eq(7).all() and torch.equal(detector["backbone"].linear.weight, before)
    assert float(detector["neck"].conv.weight.detach().std()) == pytest.approx(EXPECTED["kaiming"][0], rel=0.05)
    assert detector["head"].conv.weight.eq(7).all() and not detector["head"].linear.bias.any()


@pytest.mark.parametrize("kind", ["auto", *DRAWS])
def test_the_head_predicts_little_at_first(kind: str) -> None:
    torch.manual_seed(0)
    detector = build_detector(DetectorSpec())
    initialise(detector, kind)
    scores = detector.eval()(torch.rand(1, 3, 96, 96) * 255).scores
    assert 0.003 < float(scores.detach().mean()) < 0.03


@pytest.mark.parametrize("kind", ["auto", *DRAWS])
def test_the_meta_device_works(kind: str) -> None:
    with torch.device("meta"):
        initialise(build_detector(DetectorSpec()), kind)


def _present_draws(spec: DetectorSpec) -> dict[str, Tensor]:
    """What a seed has given since the first stored figures: He et al. over all convolutions, then the predictions."""
    torch.manual_seed(3)
    detector = build_detector(spec)
    torch.manual_seed(3)
    for module in detector.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    detector.head.init_weights()
    return detector.state_dict()


def test_a_seed_gives_the_weights_of_the_stored_figures() -> None:
    wanted = _present_draws(DetectorSpec())
    detector = build_detector(DetectorSpec())
    torch.manual_seed(3)
    initialise(detector)
    assert all(torch.equal(value, wanted[name]) for name, value in detector.state_dict().items())
