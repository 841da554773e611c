"""Recomputation changes what is kept for the gradient and never what is computed, in every kind of backbone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nasdet.models import Detector, Targets, build_detector
from nasdet.models.activation_checkpointing import run, set_recompute
from nasdet.models.training_memory import saved_per_image
from nasdet.space.presets import SYSTEMS, tiny_spec
from tests.systems import BACKBONES
from tests.workers import join, run_workers


class Counted(nn.Module):
    """A convolution, a norm and a dropout, with a count of forward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5)
        self.passes = 0

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.passes += 1
        out: Tensor = self.drop(self.norm(self.conv(x * y)))
        return out.exp()


def one_step(name: str, *, recompute: bool) -> Detector:
    """The detector after one backward pass in float64, with batch statistics and stochastic depth."""
    spec = tiny_spec(SYSTEMS[name], head={"classes": 3}, norm={"kind": "bn"})
    torch.manual_seed(0)
    detector = build_detector(spec).double()
    detector.set_drop_path(0.5)
    detector.set_recompute(recompute)
    images = torch.randint(0, 256, (2, spec.input.channels, spec.input.height, spec.input.width))
    boxes = torch.tensor([[[8, 8, 40, 44], [30, 20, 60, 62]], [[4, 10, 50, 50], [0, 0, 0, 0]]]).double()
    masks = torch.ones(2, 2, *images.shape[-2:], dtype=torch.bool) if detector.head.wants_masks else None
    detector(images, Targets(boxes, torch.tensor([[0, 2], [1, -1]]), masks))["loss"].backward()
    return detector


@pytest.mark.parametrize("name", BACKBONES.values())
def test_gradients_and_running_statistics_are_equal(name: str) -> None:
    kept, recomputed = (one_step(name, recompute=on) for on in (False, True))
    for (where, a), b in zip(kept.named_parameters(), recomputed.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None, where
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12, msg=where)
    moved = [where for where, b in kept.named_buffers() if where.endswith("num_batches_tracked") and b == 1]
    assert moved or not any(isinstance(m, nn.BatchNorm2d) for m in kept.modules())
    for (where, a), b in zip(kept.named_buffers(), recomputed.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12, msg=where)


@pytest.mark.parametrize("name", BACKBONES.values())
def test_every_backbone_keeps_less(name: str) -> None:
    spec = tiny_spec(SYSTEMS[name])
    assert saved_per_image(spec, recompute=True) < saved_per_image(spec)


@pytest.mark.parametrize("on", [False, True])
def test_a_part_runs_again_only_where_it_was_switched_on_and_trains(on: bool) -> None:
    part, x, y = Counted(), torch.randn(2, 2, 3, 3), torch.randn(2, 2, 3, 3)
    set_recompute(part, on)
    torch.manual_seed(1)
    expected = part(x, y).detach()
    torch.manual_seed(1)
    part.passes = 0
    output = run(part, x, y)
    assert torch.equal(output, expected)  # the same places dropped
    output.sum().backward()
    assert part.passes == 1 + on
    assert part.norm.num_batches_tracked == 2
    with torch.no_grad():
        run(part, x, y)
    run(part.eval(), x, y).sum().backward()
    assert part.passes == 3 + on


def _work(rank: int, folder: str) -> None:
    join(rank, f"{folder}/store", world=2)
    spec = tiny_spec(SYSTEMS["dsod300"], norm={"kind": "syncbn"})
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(rank)) * 255
    targets = Targets(torch.tensor([[[8.0, 8, 40, 44]]]).repeat(2, 1, 1), torch.tensor([[0], [1]]))
    for on in (False, True):
        torch.manual_seed(0)
        detector = build_detector(spec).double()
        detector.set_recompute(on)
        model = DistributedDataParallel(detector, broadcast_buffers=False)
        model(images, targets)["loss"].backward()
        gradients = {name: p.grad for name, p in detector.named_parameters()}
        torch.save({**gradients, **dict(detector.named_buffers())}, f"{folder}/{on}-{rank}")
    dist.destroy_process_group()


def test_statistics_over_workers_are_gathered_again_in_the_same_order(tmp_path: Path) -> None:
    run_workers(_work, str(tmp_path), count=2)
    for rank in (0, 1):
        kept, recomputed = (torch.load(tmp_path / f"{on}-{rank}", weights_only=True) for on in (False, True))
        for name, value in kept.items():
            torch.testing.assert_close(value, recomputed[name], rtol=1e-9, atol=1e-12, msg=name)
