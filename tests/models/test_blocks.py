"""Stages of blocks: what the test over the registry does not say."""

from __future__ import annotations

import pytest
import torch
from timm.layers import DropPath

from nasdet.models.blocks import BLOCKS, Elan
from nasdet.models.layers import Layers
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.specs import DetectorSpec

LAYERS = Layers.of(DetectorSpec())


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("width", [6, 15, 32])
def test_a_stage_gives_its_width_and_stride_with_a_drop_path_per_block(name: str, width: int) -> None:
    stage = StageSpec(depth=3, width=width, stride=2)
    built = BLOCKS[name](10, stage, StagedSpec(block=name, groups=2), LAYERS)
    assert built(torch.randn(2, 10, 16, 12)).shape == (2, width, 8, 6)
    assert sum(isinstance(m, DropPath) for m in built.modules()) == 3


def test_elan_joins_both_halves_and_the_output_of_every_block() -> None:
    elan = Elan(16, StageSpec(depth=3, width=32, stride=1), StagedSpec(block="elan"), LAYERS)
    elan.join = torch.nn.Identity()
    x = torch.randn(1, 16, 8, 8)
    parts = elan(x).chunk(5, dim=1)
    assert torch.equal(torch.cat(parts[:2], 1), elan.split(x))
    for number, block in enumerate(elan.blocks):
        assert torch.equal(parts[2 + number], block(parts[1 + number]))
