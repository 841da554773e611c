"""What a detector learns from another one."""

from __future__ import annotations

import pytest
import torch

from nasdet.models import Targets, build_detector
from nasdet.models.heads.base import Lesson
from nasdet.models.heads.teaching import score_lesson, side_lesson
from nasdet.space.necks import PyramidSpec
from tests.trainers.conftest import tiny_spec

STRIDES = torch.tensor([8.0] * 6 + [16.0] * 2)


def lesson(seed: int = 0) -> Lesson:
    torch.manual_seed(seed)
    return Lesson(torch.rand(3, 8, 5), torch.randn(3, 8, 4 * 4), STRIDES)


def test_who_says_the_same_has_nothing_to_learn() -> None:
    told = lesson()
    logits = torch.logit(told.scores).requires_grad_()
    sides = told.sides.clone().requires_grad_()
    scores, distributions = score_lesson(logits, STRIDES, told), side_lesson(sides, STRIDES, 4, told)
    assert scores.item() == pytest.approx(0, abs=1e-6) and distributions.item() == pytest.approx(0, abs=1e-6)
    for loss, own in ((scores, logits), (distributions, sides)):
        (gradient,) = torch.autograd.grad(loss, own)
        assert gradient.abs().max() < 1e-6


def test_both_losses_lead_to_the_teacher() -> None:
    told = lesson()
    logits, sides = torch.zeros(3, 8, 5, requires_grad=True), torch.zeros(3, 8, 16, requires_grad=True)
    optimizer = torch.optim.Adam([logits, sides], 0.05)
    for _ in range(600):
        optimizer.zero_grad()
        (score_lesson(logits, STRIDES, told) + side_lesson(sides, STRIDES, 4, told)).backward()
        optimizer.step()
    torch.testing.assert_close(logits.detach().sigmoid(), told.scores, atol=0.1, rtol=0)
    wanted = told.sides.unflatten(-1, (4, 4)).softmax(-1)
    torch.testing.assert_close(sides.detach().unflatten(-1, (4, 4)).softmax(-1), wanted, atol=0.1, rtol=0)


def test_only_levels_of_equal_stride_teach() -> None:
    told, strides = lesson(), torch.tensor([4.0] * 20 + [8.0] * 6)
    logits = torch.randn(3, 26, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(score_lesson(logits, strides, told), logits)
    assert not gradient[:, :20].any() and gradient[:, 20:].all()
    changed = told._replace(scores=torch.cat([told.scores[:, :6], 1 - told.scores[:, 6:]], 1))  # of stride 16
    assert score_lesson(logits, strides, changed) == score_lesson(logits, strides, told)


def test_a_detector_teaches_one_of_another_size() -> None:
    torch.manual_seed(0)
    spec = tiny_spec()
    wide = spec.model_copy(update={"neck": PyramidSpec(kind="fpn", levels=(-2, -1), width=32, depth=1)})
    teacher, pupil = build_detector(wide).eval(), build_detector(spec).train()
    images = torch.rand(2, 1, 64, 64) * 255
    targets = Targets(torch.tensor([[[8.0, 8, 40, 40]]] * 2), torch.tensor([[3]] * 2))
    alone = pupil(images, targets)
    taught = pupil(images, targets._replace(lesson=teacher.lesson(images)))
    assert "taught" not in alone and taught["taught"] > 0 and not taught["taught"].requires_grad
    assert taught["loss"].item() == pytest.approx((alone["loss"] + taught["taught"]).item(), rel=1e-5)
    taught["loss"].backward()
    assert all(p.grad is None for p in teacher.parameters())
