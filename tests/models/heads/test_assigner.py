"""Task-aligned assignment: cases that can be checked by hand."""

from __future__ import annotations

import torch

from nasdet.models.boxes import make_points
from nasdet.models.heads.assigner import Assignment, Targets, TaskAlignedAssigner
from nasdet.models.heads.losses import quality_focal_loss


def _assign(boxes: list[list[list[float]]], labels: list[list[int]], topk: int = 4) -> Assignment:
    """An 8x8 grid of stride 8 that predicts squares of 24 pixels around every point, every class with 0.5."""
    points, _ = make_points([(8, 8)], [8], torch.zeros(()))
    predicted = torch.cat([points - 12, points + 12], -1).expand(len(boxes), -1, -1)
    scores = torch.full((len(boxes), 64, 3), 0.5)
    targets = Targets(
        torch.tensor(boxes, dtype=torch.float32).reshape(len(boxes), len(labels[0]), 4),
        torch.tensor(labels, dtype=torch.int64).reshape(len(boxes), len(labels[0])),
    )
    return TaskAlignedAssigner(topk=topk)(scores, predicted, points, targets)


def test_the_best_points_inside_are_taken() -> None:
    found = _assign([[[8.0, 8.0, 32.0, 32.0]]], [[2]], topk=1)
    assert found.point.tolist() == [2 * 8 + 2]  # the point (20, 20) whose square is the box
    assert found.labels.tolist() == [2]
    assert found.scores.tolist() == [1.0]


def test_no_boxes_at_all() -> None:
    found = _assign([[], []], [[], []])
    assert len(found.point) == 0 and found.negatives.all()


def test_padding_is_no_box() -> None:
    found = _assign([[[8.0, 8.0, 32.0, 32.0]], [[0.0, 0.0, 0.0, 0.0]]], [[0], [-1]])
    assert found.image.unique().tolist() == [0]


def test_box_between_the_points_takes_the_nearest() -> None:
    found = _assign([[[17.0, 17.0, 19.0, 19.0]]], [[1]])
    assert found.point.tolist() == [2 * 8 + 2]
    assert found.scores.item() > 0


def test_a_point_belongs_to_one_box() -> None:
    found = _assign([[[8.0, 8.0, 32.0, 32.0], [10.0, 10.0, 34.0, 34.0]]], [[0, 1]], topk=9)
    assert len(found.point.unique()) == len(found.point)
    assert set(found.labels.tolist()) == {0, 1}


def test_points_in_regions_to_ignore_are_no_negatives() -> None:
    found = _assign([[[0.0, 0.0, 16.0, 64.0], [32.0, 0.0, 64.0, 64.0]]], [[-2, 0]])
    ignored = ~found.negatives.view(8, 8)
    assert ignored[:, :2].all() and not ignored[:, 2:].any()
    logits = torch.zeros(1, 64, 3, requires_grad=True)
    quality_focal_loss(logits, found).backward()
    assert logits.grad is not None
    gradient = logits.grad.view(8, 8, 3)
    assert (gradient[:, :2] == 0).all() and (gradient[:, 2:4] > 0).all()


def test_positive_in_a_region_to_ignore_learns() -> None:
    found = _assign([[[0.0, 0.0, 64.0, 64.0], [8.0, 8.0, 32.0, 32.0]]], [[-2, 1]])
    assert len(found.point) > 0
    logits = torch.zeros(1, 64, 3, requires_grad=True)
    quality_focal_loss(logits, found).backward()
    assert logits.grad is not None and (logits.grad[0, found.point, 1] != 0).any()


def test_scores_to_learn_peak_at_the_best_overlap() -> None:
    found = _assign([[[8.0, 8.0, 30.0, 30.0]]], [[0]], topk=9)
    best = (22 * 22) / (24 * 24)
    assert abs(found.scores.max().item() - best) < 1e-5
