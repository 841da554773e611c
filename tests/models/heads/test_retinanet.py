"""Losses and boxes of RetinaNet against torchvision's on the same predictions."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.retinanet import RetinaNetHead as TheirHead
from torchvision.ops import box_iou

from nasdet.models.heads import Targets
from nasdet.models.heads.retinanet import RetinaNetHead
from nasdet.models.layers import Layers
from nasdet.space.heads import RetinaNetSpec
from nasdet.space.specs import DetectorSpec

STRIDES, SIZE, CLASSES = (8, 16, 32), (64, 96), 3
TRUTH = torch.tensor([[[8, 8, 40, 44], [30, 20, 60, 62]], [[4, 10, 50, 50], [0, 0, 0, 0]], [[0, 0, 0, 0]] * 2]).float()
LABELS = torch.tensor([[0, 2], [1, -1], [-1, -1]])


def _head() -> RetinaNetHead:
    torch.manual_seed(0)
    spec = RetinaNetSpec(classes=CLASSES, width=8, depth=1)
    return RetinaNetHead((8,) * 3, STRIDES, spec, Layers.of(DetectorSpec()))


def _features() -> list[Tensor]:
    return [torch.randn(3, 8, SIZE[0] // s, SIZE[1] // s) for s in STRIDES]


def _their_loss(logits: Tensor, shifts: Tensor, anchors: Tensor, truth: Tensor, labels: Tensor) -> dict[str, Tensor]:
    theirs = TheirHead(8, 9, CLASSES)
    targets = [{"boxes": b[c >= 0], "labels": c[c >= 0]} for b, c in zip(truth, labels, strict=True)]
    matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
    nothing = torch.full((len(anchors),), -1)
    matched = [matcher(box_iou(t["boxes"], anchors)) if len(t["boxes"]) else nothing for t in targets]
    outputs = {"cls_logits": logits, "bbox_regression": shifts}
    losses: dict[str, Tensor] = theirs.compute_loss(targets, outputs, [anchors] * len(targets), matched)
    return losses


def test_losses_and_gradients_equal_torchvision() -> None:
    head = _head()
    logits, shifts, anchors = (x.detach() for x in head(_features()))
    logits, shifts = (logits * 20).requires_grad_(), (shifts * 20).requires_grad_()
    ours = head.dense_loss(logits, shifts, anchors, Targets(TRUTH, LABELS))
    theirs = _their_loss(logits, shifts, anchors, TRUTH, LABELS)
    torch.testing.assert_close(ours["cls"], theirs["classification"].detach())
    torch.testing.assert_close(ours["box"], theirs["bbox_regression"].detach())
    wanted = torch.autograd.grad(sum(theirs.values()), [logits, shifts])
    for a, b in zip(torch.autograd.grad(ours["loss"], [logits, shifts]), wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_a_batch_without_boxes_is_background() -> None:
    head, features = _head(), _features()
    losses = head.loss(features, Targets(torch.zeros(3, 0, 4), torch.zeros(3, 0, dtype=torch.long)), SIZE)
    assert losses["positives"] == 0 and losses["negatives"] == 9 * (96 + 24 + 6) and losses["box"] == 0
    losses["loss"].backward()
    assert all(p.grad is not None for p in head.parameters())


def test_regions_to_ignore_are_no_negatives() -> None:
    head, features = _head(), _features()
    region = torch.cat([TRUTH, torch.tensor([[[40.0, 0, 96, 64]]]).expand(3, -1, -1)], 1)
    with_region = Targets(region, torch.cat([LABELS, torch.full((3, 1), -2)], 1))
    plain, ignoring = (head.loss(features, t, SIZE) for t in (Targets(TRUTH, LABELS), with_region))
    assert ignoring["positives"] == plain["positives"] > 0 and ignoring["negatives"] < plain["negatives"]
    assert ignoring["cls"] < plain["cls"] and ignoring["box"] == plain["box"]


def test_boxes_start_at_their_anchors_with_little_score() -> None:
    head, features = _head(), _features()
    head.init_weights()
    boxes, scores = head.predict(features, SIZE)
    anchors = head(features)[2]
    assert boxes.shape == (3, len(anchors), 4) and scores.shape == (3, len(anchors), CLASSES)
    assert scores.max() < 0.03
    sides = (anchors[:, 2:] - anchors[:, :2]).repeat(1, 2)
    assert ((boxes - anchors).abs() / sides).max() < 0.2
