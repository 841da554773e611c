from __future__ import annotations

import pytest
import torch
from torch import nn

from nasdet.models import build_detector
from nasdet.models.pointwise import StridedPointwise, avoid_strided_pointwise
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.specs import DetectorSpec


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("groups", [1, 2])
def test_equals_a_strided_convolution(size: int, groups: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 1, stride=2, groups=groups, dtype=torch.float64)
    x = torch.randn(3, 4, size, size, dtype=torch.float64)
    expected = conv(x)
    avoid_strided_pointwise(conv)
    assert type(conv) is StridedPointwise
    torch.testing.assert_close(conv(x), expected)


def test_detectors_hold_no_strided_pointwise_kernel() -> None:
    stages = (StageSpec(width=8), StageSpec(width=16), StageSpec(width=16))
    detector = build_detector(DetectorSpec(backbone=StagedSpec(stem="conv3x3", stem_width=8, stages=stages)))
    plain = [m for m in detector.modules() if type(m) is nn.Conv2d]
    assert not [m for m in plain if m.kernel_size == (1, 1) and max(m.stride) > 1]
    assert any(isinstance(m, StridedPointwise) for m in detector.modules())


def test_few_channels_and_an_odd_batch_train_on_two_threads() -> None:
    """What corrupted the heap with oneDNN's own strided kernel."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    conv = nn.Conv2d(8, 8, 1, stride=2).to(memory_format=torch.channels_last)
    avoid_strided_pointwise(conv)
    try:
        for _ in range(20):
            x = torch.randn(15, 8, 32, 32).contiguous(memory_format=torch.channels_last).requires_grad_()
            conv(x).square().sum().backward()
    finally:
        torch.set_num_threads(threads)
    assert conv.weight.grad is not None and torch.isfinite(conv.weight.grad).all()
