"""Costs on the meta device equal those of the built network."""

from __future__ import annotations

import pytest
import torch
from timm.layers import Attention
from torch.utils.flop_counter import FlopCounterMode

from nasdet.models import build_detector, count_costs
from nasdet.models.blocks import BLOCKS
from nasdet.models.costs import count_macs
from nasdet.space.backbones import StagedSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.spec_base import kinds_of
from nasdet.space.specs import DetectorSpec


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("neck", kinds_of(PyramidSpec))
def test_equal_the_built_network(block: str, neck: str) -> None:
    spec = DetectorSpec(backbone=StagedSpec(block=block, groups=2), neck=PyramidSpec(kind=neck, extra_levels=1))
    detector, costs = build_detector(spec).eval(), count_costs(spec)
    assert costs.params == sum(p.numel() for p in detector.parameters())
    assert costs.stride == min(detector.strides)
    assert costs.params_m == costs.params / 1e6 and costs.gflops == costs.macs / 1e9
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        detector.head(detector.features(torch.zeros(1, 3, 96, 96)))
    assert costs.macs == counter.get_total_flops() // 2


def test_attention_counts_its_linear_layers_and_two_products_of_tokens() -> None:
    attention, tokens = Attention(8, num_heads=2), torch.zeros(3, 5, 8)
    linear, products = 3 * 5 * 8 * (24 + 8), 2 * 3 * 5 * 5 * 8
    assert count_macs(attention, lambda: attention(tokens)) == linear + products
