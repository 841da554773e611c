"""Folding keeps what the network says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nasdet.models import build_detector, fold_norms
from nasdet.models.blocks import BLOCKS
from nasdet.space.backbones import StagedSpec
from nasdet.space.heads import TaskAlignedSpec
from nasdet.space.specs import DetectorSpec, NormSpec

CASES = [
    *(("bn", number % 2 == 0, block) for number, block in enumerate(BLOCKS)),  # every block has foldable norms
    *((norm, shared, "basic") for norm in ("bn", "gn", "syncbn", "ln", "none") for shared in (True, False)),
]


@pytest.mark.parametrize(("norm", "shared", "block"), CASES)
def test_same_detections(norm: str, shared: bool, block: str) -> None:
    torch.manual_seed(0)
    spec = DetectorSpec(norm=NormSpec(kind=norm), head=TaskAlignedSpec(shared=shared), backbone=StagedSpec(block=block))
    detector, images = build_detector(spec), torch.rand(2, 3, 64, 64) * 255
    with torch.no_grad():
        for _ in range(3):
            detector(images)  # running statistics
        folded = fold_norms(detector)
        wanted, found = detector.eval()(images), folded(images)
    torch.testing.assert_close(found.scores, wanted.scores, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.boxes, wanted.boxes, atol=1e-2, rtol=1e-4)
    left = sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert left == 0
    assert norm in ("gn", "ln", "none") or any(isinstance(m, nn.BatchNorm2d) for m in detector.modules())
