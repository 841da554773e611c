"""The multibox head: equal to torchvision's SSD, and what it does where there is nothing to learn."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torchvision.models.detection import _utils
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

from nasdet.models import build_detector
from nasdet.models.heads import Targets
from nasdet.models.heads.ssd import L2Norm, SsdHead
from nasdet.models.layers import Layers
from nasdet.space.heads import SsdSpec
from nasdet.space.presets import SYSTEMS, tiny_spec
from nasdet.space.specs import DetectorSpec

CANVAS = (64, 96)
CHANNELS, SIZES = (16, 24, 8), ((8, 12), (4, 6), (2, 3))
TARGETS = Targets(
    torch.tensor([[[8, 8, 40, 40], [50, 10, 90, 60]], [[4, 10, 50, 50], [0, 0, 0, 0]]]).float(),
    torch.tensor([[0, 2], [1, -1]]),
)


def _head(**fields: object) -> SsdHead:
    torch.manual_seed(0)
    head = SsdHead(CHANNELS, (8, 16, 32), SsdSpec(classes=3, **fields), Layers.of(DetectorSpec()))
    head.init_weights()
    return head


def _features(batch: int = 2) -> list[torch.Tensor]:
    return [torch.randn(batch, c, *size) for c, size in zip(CHANNELS, SIZES, strict=True)]


def test_loss_is_torchvisions() -> None:
    head, features = _head(), _features()
    logits, codes = head(features)
    defaults = head.default_boxes(features, CANVAS, logits)
    truth = [{"boxes": b[k >= 0], "labels": 1 + k[k >= 0]} for b, k in zip(*TARGETS[:2], strict=True)]
    matcher = _utils.SSDMatcher(0.5)
    matched = [matcher(box_iou(one["boxes"], defaults)) for one in truth]
    ssd = SimpleNamespace(box_coder=_utils.BoxCoder((10.0, 10.0, 5.0, 5.0)), neg_to_pos_ratio=3.0)
    outputs = {"cls_logits": logits, "bbox_regression": codes}
    theirs = SSD.compute_loss(ssd, truth, outputs, [defaults] * 2, matched)
    ours = head.loss(features, TARGETS, CANVAS)
    assert ours["cls"].item() == pytest.approx(theirs["classification"].item(), rel=1e-5)
    assert ours["box"].item() == pytest.approx(theirs["bbox_regression"].item(), rel=1e-5)
    assert ours["loss"].item() == pytest.approx(sum(theirs.values()).item(), rel=1e-5)
    positives = sum(int((m >= 0).sum()) for m in matched) / 2
    assert ours["positives"] == positives and ours["negatives"] == 3 * positives


def test_encoded_boxes_are_found_again() -> None:
    head, features = _head(), _features(1)
    defaults = head.default_boxes(features, CANVAS, features[0])
    boxes = TARGETS.boxes[0, :1].expand(len(defaults), -1)
    codes = head.coder.encode(boxes, defaults)
    assert (head.coder.decode(codes, defaults) - boxes).abs().max() < 1e-3


def test_candidates_leave_the_background_out() -> None:
    head, features = _head(), _features()
    logits, codes = head(features)
    found = head.predict(features, CANVAS)
    assert found.boxes.shape == (*codes.shape[:2], 4) and found.scores.shape == (*codes.shape[:2], 3)
    assert torch.allclose(found.scores.sum(-1), 1 - logits.softmax(-1)[..., 0])


@pytest.mark.parametrize("boxes", [0, 2])
def test_without_objects_nothing_is_learnt(boxes: int) -> None:
    head = _head()
    targets = Targets(torch.zeros(2, boxes, 4), torch.full((2, boxes), -1))
    losses = head.loss(_features(), targets, CANVAS)
    losses["loss"].backward()
    assert losses["loss"] == 0 and losses["positives"] == losses["negatives"] == 0
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())


def test_predicting_norms_and_kernels() -> None:
    plain, normed = _head(kernel=1), _head(predict_norm=True)
    assert plain.box[0].weight.shape == (16, 16, 1, 1) and plain.box[0].bias is not None
    assert normed.cls[1].conv.weight.shape == (6 * 4, 24, 3, 3) and normed.cls[1].conv.bias is None
    normed.loss(_features(), TARGETS, CANVAS)["loss"].backward()


@pytest.mark.parametrize(("which", "count"), [("none", 0), ("first", 1), ("all", 3)])
def test_levels_of_length_20(which: str, count: int) -> None:
    head = _head(l2_norm=which)
    assert sum(isinstance(m, L2Norm) for m in head.modules()) == count
    if count:
        assert torch.allclose(head.scale[0](_features()[0]).norm(dim=1), torch.tensor(20.0))


def test_an_exported_detector_takes_any_batch() -> None:
    detector = build_detector(tiny_spec(SYSTEMS["ssd300_vgg16"])).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(detector, (torch.zeros(2, 3, 96, 96),), dynamic_shapes=({0: batch},)).module()
    images = torch.rand(3, 3, 96, 96) * 255
    with torch.no_grad():
        for ours, theirs in zip(detector(images), exported(images), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-4)
