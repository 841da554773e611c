"""Extra levels of SSD and Pelee's residual prediction blocks."""

from __future__ import annotations

import pytest
import torch

from nasdet.models.layers import Layers
from nasdet.models.necks.extra_levels import ExtraLevels, ResidualPrediction
from nasdet.space.necks import ExtraLevelsSpec, ExtraSpec, ResidualPredictionSpec
from nasdet.space.specs import DetectorSpec, NormSpec

LAYERS = Layers.of(DetectorSpec(norm=NormSpec(kind="bn")))
SMALL = (ExtraSpec(squeeze=8, width=24), ExtraSpec(squeeze=8, width=16), ExtraSpec(squeeze=8, width=16, stride=1))


def _features(*cells: int) -> list[torch.Tensor]:
    return [torch.randn(2, c, n, n) for c, n in zip((8, 12), cells, strict=True)]


def test_ssd300_has_the_published_levels() -> None:
    with torch.device("meta"):
        neck = ExtraLevels((512, 1024), (8, 16), ExtraLevelsSpec(), LAYERS).eval()
        levels = neck([torch.empty(1, 512, 38, 38), torch.empty(1, 1024, 19, 19)])
    assert [x.shape[-1] for x in levels] == [38, 19, 10, 5, 3, 1]
    assert neck.channels == (512, 1024, 512, 256, 256, 256) and neck.strides == (8, 16, 32, 64, 64, 64)


def test_the_backbones_levels_go_on_as_they_are() -> None:
    neck, features = ExtraLevels((8, 12), (8, 16), ExtraLevelsSpec(extras=SMALL), LAYERS), _features(12, 6)
    levels = neck(features)
    assert levels[0] is features[0] and levels[1] is features[1]
    assert [x.shape[1:] for x in levels[2:]] == [(24, 3, 3), (16, 2, 2), (16, 2, 2)]  # 2 cells are padded


def test_an_oblong_level_is_padded_where_it_is_short() -> None:
    neck = ExtraLevels((12,), (32,), ExtraLevelsSpec(levels=(-1,), extras=SMALL[2:]), LAYERS)
    assert neck([torch.randn(2, 12, 2, 7)])[1].shape[-2:] == (2, 5)


@pytest.mark.parametrize("norm", [True, False])
def test_extra_layers_have_a_norm_or_a_bias(norm: bool) -> None:
    neck = ExtraLevels((8, 12), (8, 16), ExtraLevelsSpec(extras=SMALL, extra_norm=norm), LAYERS)
    assert (neck.extras[0].squeeze.conv.bias is None) == norm
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in neck.modules()) == norm


def test_pelees_levels() -> None:
    with torch.device("meta"):
        neck = ResidualPrediction((512, 704), (16, 32), ResidualPredictionSpec(), LAYERS).eval()
        levels = neck([torch.empty(1, 512, 19, 19), torch.empty(1, 704, 10, 10)])
    assert [x.shape[-1] for x in levels] == [19, 19, 10, 5, 3, 1]
    assert neck.channels == (256,) * 6 and neck.strides == (16, 16, 32, 64, 64, 64)
    assert levels[0] is levels[1]


def test_pelee_without_the_first_level_twice() -> None:
    spec = ResidualPredictionSpec(extras=SMALL, width=16, repeat_first=False)
    neck = ResidualPrediction((8, 12), (8, 16), spec, LAYERS)
    assert [x.shape[1:] for x in neck(_features(12, 6))] == [(16, n, n) for n in (12, 6, 3, 2, 2)]
    assert len(neck.strides) == 5
