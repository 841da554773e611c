"""Assignment, losses and boxes of FCOS against torchvision's on the same predictions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.fcos import FCOS

from nasdet.models.heads import Targets
from nasdet.models.heads.fcos import FcosHead, match_points
from nasdet.models.layers import Layers
from nasdet.space.heads import FcosSpec
from nasdet.space.specs import DetectorSpec

STRIDES, SIZE, CLASSES = (8, 16, 32), (64, 96), 3
TRUTH = torch.tensor([[[8, 8, 40, 44], [30, 20, 60, 62]], [[4, 10, 50, 50], [0, 0, 0, 0]], [[0, 0, 0, 0]] * 2]).float()
LABELS = torch.tensor([[0, 2], [1, -1], [-1, -1]])


def _head(**fields: object) -> FcosHead:
    torch.manual_seed(0)
    spec = FcosSpec(classes=CLASSES, width=8, depth=1, **fields)
    return FcosHead((8,) * 3, STRIDES, spec, Layers.of(DetectorSpec()))


def _features() -> list[Tensor]:
    return [torch.randn(3, 8, SIZE[0] // s, SIZE[1] // s) for s in STRIDES]


def _their_loss(
    radius: float, logits: Tensor, box: Tensor, points: Tensor, strides: Tensor, truth: Tensor, labels: Tensor
) -> dict[str, Tensor]:
    backbone = nn.Identity()
    backbone.out_channels = 32  # type: ignore[assignment]
    model = FCOS(backbone, CLASSES, center_sampling_radius=radius)
    half = strides[:, None] / 2
    anchors = torch.cat([points - half, points + half], -1)
    targets = [{"boxes": b[c >= 0], "labels": c[c >= 0]} for b, c in zip(truth, labels, strict=True)]
    outputs = {"cls_logits": logits, "bbox_regression": box[..., :4].relu(), "bbox_ctrness": box[..., 4:]}
    losses: dict[str, Tensor] = model.compute_loss(targets, outputs, [anchors] * len(truth), [96, 24, 6])
    return losses


@pytest.mark.parametrize("radius", [1.5, 1.0, 3.0])
def test_losses_and_gradients_equal_torchvision(radius: float) -> None:
    head = _head(center_radius=radius)
    logits, box, points, strides = (x.detach() for x in head(_features()))
    logits, box = (logits * 20).requires_grad_(), (box * 20 + 0.5).requires_grad_()
    ours = head.dense_loss(logits, box, points, strides, Targets(TRUTH, LABELS))
    theirs = _their_loss(radius, logits, box, points, strides, TRUTH, LABELS)
    assert ours["positives"] > 0
    for name, other in (("cls", "classification"), ("box", "bbox_regression"), ("centerness", "bbox_ctrness")):
        torch.testing.assert_close(ours[name], theirs[other].detach())
    wanted = torch.autograd.grad(sum(theirs.values()), [logits, box])
    for a, b in zip(torch.autograd.grad(ours["loss"], [logits, box]), wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_levels_take_boxes_of_their_size_and_the_smallest_box_wins() -> None:
    points = torch.tensor([[32.0, 32], [32, 32], [32, 32]])
    strides = torch.tensor([8.0, 16, 32])
    small, large = [24.0, 24, 40, 40], [2.0, 2, 62, 62]
    match = lambda *boxes, radius=0.0: match_points(  # noqa: E731
        points, strides, torch.tensor([boxes]), torch.zeros(1, len(boxes), dtype=torch.long), radius
    )[0].tolist()
    assert match(small) == [0, -1, -1]
    assert match(large) == [0, -1, -1]
    assert match(large, small) == [1, -1, -1]
    assert match([-50.0, -50, 114, 114]) == [-1, 0, -1]
    assert match([-200.0, -200, 264, 264]) == [-1, -1, 0]
    off_centre = [30.0, 2, 90, 62]
    assert match(off_centre)[0] == 0 and match(off_centre, radius=1.5)[0] == -1


def test_a_batch_without_boxes_is_background() -> None:
    head, features = _head(), _features()
    losses = head.loss(features, Targets(torch.zeros(3, 0, 4), torch.zeros(3, 0, dtype=torch.long)), SIZE)
    assert losses["positives"] == 0 and losses["negatives"] == 96 + 24 + 6 and losses["box"] == 0
    losses["loss"].backward()
    assert all(p.grad is not None for p in head.parameters())


def test_regions_to_ignore_are_no_negatives() -> None:
    head, features = _head(), _features()
    region = torch.cat([TRUTH, torch.tensor([[[16.0, 0, 96, 64]]]).expand(3, -1, -1)], 1)
    with_region = Targets(region, torch.cat([LABELS, torch.full((3, 1), -2)], 1))
    plain, ignoring = (head.loss(features, t, SIZE) for t in (Targets(TRUTH, LABELS), with_region))
    assert ignoring["positives"] == plain["positives"] > 0 and ignoring["negatives"] < plain["negatives"]
    assert ignoring["cls"] < plain["cls"] and ignoring["box"] == plain["box"]


def test_scores_are_means_of_class_and_centerness() -> None:
    head, features = _head(), _features()
    head.init_weights()
    boxes, scores = head.predict(features, SIZE)
    assert boxes.shape == (3, 126, 4) and scores.shape == (3, 126, CLASSES)
    logits, box = head(features)[:2]
    torch.testing.assert_close(scores, (logits.sigmoid() * box[..., 4:].sigmoid()).sqrt())
    torch.testing.assert_close((boxes[..., 2:] - boxes[..., :2])[:, :96].mean(), torch.tensor(16.0), atol=1, rtol=0)
