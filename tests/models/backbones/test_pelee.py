"""PeleeNet: levels, channels and the published size."""

from __future__ import annotations

import pytest
import torch

from nasdet.models.backbones.pelee import PeleeNet, TwoWayDenseLayer
from nasdet.models.costs import count_params
from nasdet.models.layers import Layers
from nasdet.space.backbones import PeleeSpec
from nasdet.space.specs import DetectorSpec, NormSpec

LAYERS = Layers.of(DetectorSpec(norm=NormSpec(kind="bn")))


@pytest.mark.parametrize(("size", "cells"), [(304, (76, 38, 19, 10)), (300, (75, 38, 19, 10)), (96, (24, 12, 6, 3))])
def test_levels(size: int, cells: tuple[int, ...]) -> None:
    with torch.device("meta"):
        backbone = PeleeNet(PeleeSpec(), 3, (-4, -3, -2, -1), LAYERS)
        levels = backbone(torch.empty(1, 3, size, size))
    assert backbone.channels == (128, 256, 512, 704) and backbone.strides == (4, 8, 16, 32)
    assert [tuple(x.shape[1:]) for x in levels] == [(c, n, n) for c, n in zip(backbone.channels, cells, strict=True)]


def test_size_is_the_published_one() -> None:
    """2.80M with the classifier of 1000 classes (Wang et al. 2018)."""
    with torch.device("meta"):
        backbone = PeleeNet(PeleeSpec(), 3, (-1,), LAYERS)
    assert count_params(backbone) + 704 * 1000 == pytest.approx(2.8e6, rel=0.01)


def test_a_dense_layer_keeps_its_input() -> None:
    x = torch.randn(2, 12, 6, 6)
    out = TwoWayDenseLayer(12, 4, 8, LAYERS)(x)
    assert out.shape == (2, 20, 6, 6) and torch.equal(out[:, :12], x)


def test_what_lies_behind_the_last_wanted_level_is_not_built() -> None:
    backbone = PeleeNet(PeleeSpec(depths=(1, 2, 1), bottlenecks=(2,)), 1, (-2,), LAYERS)
    assert len(backbone.blocks) == 2 and backbone.channels == (32 + 3 * 32,)
