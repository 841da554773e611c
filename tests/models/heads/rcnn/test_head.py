"""Losses and detections are torchvision's where both draw everything; every variant trains and learns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign

from nasdet.models import Targets, build_detector, count_costs, measure_latency
from nasdet.models.heads.matching import match
from nasdet.models.heads.rcnn import RcnnHead
from nasdet.models.heads.rcnn.box_head import gather
from nasdet.models.layers import Layers
from nasdet.models.weight_init import initialise
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.heads import RcnnSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.presets import SYSTEMS, tiny_spec
from nasdet.space.specs import DetectorSpec, InputSpec, NormSpec

SIZE, STRIDES, WIDTH = 128, (8, 16, 32), 16
EVERYTHING = 10**6
KINDS = {
    "faster": RcnnSpec(),
    "pool": RcnnSpec(roi_op="pool"),
    "v2": RcnnSpec(rpn_convs=2, box_head="4conv1fc", rpn_norm=True),
    "mask": RcnnSpec(mask=True, mask_norm=True),
    "cascade": RcnnSpec(cascade=True, mask=True),
    "ohem": RcnnSpec(ohem=True),
}
TINY = {
    "classes": 2,
    "fc_width": 48,
    "conv_width": 24,
    "mask_width": 24,
    "roi_batch": 64,
    "canonical_size": 64,
    "proposals_pre_train": 100,
    "proposals_train": 100,
}


def _features() -> list[Tensor]:
    return [torch.randn(2, WIDTH, SIZE // s, SIZE // s) for s in STRIDES]


def _targets() -> Targets:
    boxes = torch.tensor([[[10, 12, 60, 70], [50, 30, 120, 90]], [[20, 40, 90, 100], [0, 0, 0, 0]]]).float()
    masks = torch.zeros(2, 2, SIZE, SIZE, dtype=torch.bool)
    for image, box, (x0, y0, x1, y1) in ((0, 0, (12, 12, 60, 60)), (0, 1, (60, 30, 110, 90)), (1, 0, (20, 50, 80, 99))):
        masks[image, box, y0:y1, x0:x1] = True
    return Targets(boxes, torch.tensor([[0, 2], [1, -1]]), masks)


def _head(spec: RcnnSpec) -> RcnnHead:
    torch.manual_seed(0)
    detector = nn.Module()
    detector.backbone, detector.neck = nn.Identity(), nn.Identity()
    detector.head = RcnnHead([WIDTH] * 3, STRIDES, spec, Layers.of(DetectorSpec(norm=NormSpec(kind="bn"))))
    initialise(detector)
    for parameter in detector.head.parameters():  # far from the start, so that nothing is near 0
        nn.init.normal_(parameter, std=0.05)
    return detector.head


def _torchvision(spec: RcnnSpec, head: RcnnHead) -> nn.ModuleList:
    """torchvision's two parts with the weights of `head`."""
    rpn = RegionProposalNetwork(
        AnchorGenerator(tuple((8 * s,) for s in STRIDES), ((0.5, 1.0, 2.0),) * 3),
        RPNHead(WIDTH, 3, conv_depth=spec.rpn_convs),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=spec.rpn_batch,
        positive_fraction=spec.rpn_positives,
        pre_nms_top_n={"training": spec.proposals_pre_train, "testing": spec.proposals_pre_test},
        post_nms_top_n={"training": spec.proposals_train, "testing": spec.proposals_test},
        nms_thresh=spec.rpn_nms,
    )
    names = ["0", "1", "2"]
    body = (
        TwoMLPHead(WIDTH * 49, spec.fc_width)
        if spec.box_head == "2fc"
        else FastRCNNConvFCHead((WIDTH, 7, 7), [spec.conv_width] * 4, [spec.fc_width], norm_layer=nn.BatchNorm2d)
    )
    mask = (
        MultiScaleRoIAlign(names, 14, 2),
        MaskRCNNHeads(WIDTH, [spec.mask_width] * 4, 1, norm_layer=nn.BatchNorm2d if spec.mask_norm else None),
        MaskRCNNPredictor(spec.mask_width, spec.mask_width, spec.classes + 1),
    )
    roi = RoIHeads(
        MultiScaleRoIAlign(names, 7, 2),
        body,
        FastRCNNPredictor(spec.fc_width, spec.classes + 1),
        0.5,
        0.5,
        spec.roi_batch,
        spec.roi_positives,
        None,
        spec.score_threshold,
        0.6,
        100,
        *(mask if spec.mask else ()),
    )
    both = nn.ModuleList([rpn, roi])
    assert [p.shape for p in both.parameters()] == [p.shape for p in head.parameters()]
    for theirs, ours in zip(both.parameters(), head.parameters(), strict=True):
        theirs.data.copy_(ours.data)
    return both


def _theirs(both: nn.ModuleList, features: list[Tensor], targets: Targets | None) -> tuple[list, dict]:
    rpn, roi = both
    own = None
    if targets is not None:
        own = [
            {"boxes": b[t >= 0], "labels": t[t >= 0] + 1, "masks": m[t >= 0].to(torch.uint8)}
            for b, t, m in zip(*targets[:3], strict=True)
        ]
    images = ImageList(torch.zeros(2, 3, SIZE, SIZE), [(SIZE, SIZE)] * 2)
    named = {str(i): x for i, x in enumerate(features)}
    proposals, first = rpn(images, named, own)
    found, second = roi(named, proposals, images.image_sizes, own)
    return found, {**first, **second}


EQUAL = {
    "faster": RcnnSpec(),
    "v2": RcnnSpec(rpn_convs=2, box_head="4conv1fc"),
    "mask": RcnnSpec(mask=True),
    "mask_norm": RcnnSpec(mask=True, mask_norm=True),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equals_torchvision(name: str) -> None:
    """With everything drawn the losses are equal, and so are the detections."""
    small = {**TINY, "classes": 3, "canonical_size": 224, "rpn_batch": EVERYTHING, "roi_batch": EVERYTHING}
    spec = EQUAL[name].model_copy(update={**small, "proposals_pre_train": 100, "proposals_train": 120})
    spec = spec.model_copy(update={"proposals_pre_test": 40, "proposals_test": 50, "score_threshold": 0.2})
    head, features, targets = _head(spec), _features(), _targets()
    both = _torchvision(spec, head)
    ours = head.loss(features, targets, (SIZE, SIZE))
    _, theirs = _theirs(both.train(), features, targets)
    names = {
        "rpn_cls": "loss_objectness",
        "rpn_box": "loss_rpn_box_reg",
        "cls": "loss_classifier",
        "box": "loss_box_reg",
    }
    for own, other in {**names, **({"mask": "loss_mask"} if spec.mask else {})}.items():
        assert float(ours[own]) == pytest.approx(float(theirs[other]), rel=1e-4)
    assert float(ours["loss"].detach()) == pytest.approx(sum(float(v) for v in theirs.values()), rel=1e-4)

    with torch.no_grad():
        candidates = head.eval().predict(features, (SIZE, SIZE))
        found, _ = _theirs(both.eval(), features, None)
    for boxes, scores, other in zip(candidates.boxes, candidates.scores, found, strict=True):
        assert boxes.shape[1:] == (3, 4) and len(other["scores"])
        for box, label, score in zip(other["boxes"], other["labels"], other["scores"], strict=True):
            near = (scores[:, label - 1] - score).abs() < 1e-5
            assert (boxes[near, label - 1].clamp(0, SIZE) - box).abs().amax(1).min() < 1e-2


def _detector(head: RcnnSpec, norm: str = "gn") -> DetectorSpec:
    return DetectorSpec(
        input=InputSpec(height=64, width=64, channels=1),
        backbone=StagedSpec(stem="conv3x3", stem_width=16, stages=(StageSpec(width=24), StageSpec(width=48))),
        neck=PyramidSpec(kind="fpn", levels=(-2, -1), width=32),
        head=head.model_copy(update=TINY),
        norm=NormSpec(kind=norm),
    )


def _rectangles() -> tuple[Tensor, Targets]:
    images = torch.full((4, 1, 64, 64), 127, dtype=torch.uint8)
    boxes = torch.tensor([[[4, 6, 26, 24], [36, 30, 60, 58]], [[30, 4, 52, 30], [6, 36, 30, 56]]] * 2).float()
    boxes[2:] += 2
    labels = torch.tensor([[0, 1], [1, 0]] * 2)
    masks = torch.zeros(4, 2, 64, 64, dtype=torch.bool)
    for number, (own, kinds) in enumerate(zip(boxes.int().tolist(), labels.tolist(), strict=True)):
        for place, ((x0, y0, x1, y1), kind) in enumerate(zip(own, kinds, strict=True)):
            images[number, :, y0:y1, x0:x1] = 230 if kind else 20
            masks[number, place, y0 : (y0 + y1) // 2, x0:x1] = True  # the upper half
    return images, Targets(boxes, labels, masks)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n != "faster" else []) for n in KINDS])
def test_learns_a_handful_of_images(name: str) -> None:
    torch.manual_seed(0)
    spec = _detector(KINDS[name])
    images, targets = _rectangles()
    detector = build_detector(spec)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=4e-3)
    for _ in range(70 if name == "faster" else 100):
        optimizer.zero_grad()
        losses = detector(images, targets)
        losses["loss"].backward()
        optimizer.step()
    assert losses["positives"] > 0 and losses["negatives"] > 0
    results = detector.eval().detect(images, score_threshold=0.3)
    for found, boxes, labels in zip(results, *targets[:2], strict=True):
        assert found.labels[:2].sort().values.tolist() == labels.sort().values.tolist()
        order = found.labels[:2].argsort()
        assert (found.boxes[:2][order] - boxes[labels.argsort()]).abs().max() < 4
        assert (found.masks is not None) == spec.head.mask
        if found.masks is not None:
            assert found.masks.shape[1:] == (28, 28)
            assert found.masks[:2, :11].mean() > 0.8 > 0.2 > found.masks[:2, 17:].mean()


@pytest.mark.parametrize("norm", ["gn", "bn", "none"])
@pytest.mark.parametrize("objects", [0, 2])
@pytest.mark.parametrize("name", KINDS)
def test_every_parameter_has_a_gradient_without_objects(name: str, objects: int, norm: str) -> None:
    """Nothing but padding, or no column at all: workers still agree on the gradients they exchange."""
    torch.manual_seed(0)
    detector = build_detector(_detector(KINDS[name], norm))
    masks = torch.zeros(2, objects, 64, 64, dtype=torch.bool)
    targets = Targets(torch.zeros(2, objects, 4), torch.full((2, objects), -1), masks)
    losses = detector(torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8), targets)
    losses["loss"].backward()
    assert losses["positives"] == 0 and losses["negatives"] > 0
    assert not [n for n, p in detector.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


def test_a_region_over_the_whole_image_leaves_no_negatives() -> None:
    torch.manual_seed(0)
    detector = build_detector(_detector(RcnnSpec(mask=True)))
    boxes = torch.tensor([[[0.0, 0.0, 64.0, 64.0]]])
    losses = detector(torch.zeros(1, 1, 64, 64), Targets(boxes, torch.tensor([[-2]]), torch.zeros(1, 1, 64, 64) > 0))
    losses["loss"].backward()
    assert losses["negatives"] == 0 and losses["positives"] == 0 and losses["loss"].isfinite()
    assert all(p.grad is not None for p in detector.parameters())


def test_objects_without_a_mask_teach_none() -> None:
    """Their boxes are learnt, their empty masks are not."""
    head, targets = _head(RcnnSpec(mask=True, **{**TINY, "classes": 3})), _targets()
    assert targets.masks is not None
    empty = targets._replace(masks=torch.zeros_like(targets.masks))
    losses = head.loss(_features(), empty, (SIZE, SIZE))
    assert losses["mask"] == 0 and losses["box"] > 0


def test_hard_examples_are_those_of_largest_loss() -> None:
    """Of well separated proposals the worst are taken, and of two alike only one."""
    spec = RcnnSpec(ohem=True, **{**TINY, "classes": 3, "roi_batch": 3})
    head, features, targets = _head(spec), _features(), _targets()
    grid = torch.tensor([[x, y, x + 28.0, y + 28.0] for x in range(0, 128, 32) for y in range(0, 128, 32)])
    boxes = torch.cat([grid, grid[:4] + 1]).repeat(2, 1, 1)
    found = match(boxes, targets, positive=0.5, negative=0.5)
    stage = head._stages()[0]
    chosen = head._hardest(stage, features, boxes, found, targets)
    assert stage.training and chosen.sum(1).tolist() == [3, 3]
    everything = gather(torch.ones_like(chosen), boxes, found, targets)
    stage.eval()
    with torch.no_grad():
        loss = torch.stack(stage.losses(*head._run(stage, features, everything), everything)).sum(0).view(2, -1)
    pairs = torch.stack([loss[:, :4], loss[:, 16:]])
    for image in range(2):
        alone = loss[image].clone()
        alone[:4] = torch.where(pairs[0, image] >= pairs[1, image], alone[:4], -1)
        alone[16:] = torch.where(pairs[1, image] > pairs[0, image], alone[16:], -1)
        assert set(alone.topk(3).indices.tolist()) == set(chosen[image].nonzero().flatten().tolist())


def test_a_cascade_asks_for_more_overlap_at_every_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """And each stage starts from the boxes of the one before."""
    seen: list[tuple[float, Tensor]] = []

    def watch(boxes: Tensor, targets: Targets, *, positive: float, negative: float) -> object:
        seen.append((positive, boxes))
        return match(boxes, targets, positive=positive, negative=negative)

    monkeypatch.setattr("nasdet.models.heads.rcnn.head.match", watch)
    spec = RcnnSpec(cascade=True, **{**TINY, "classes": 3})
    head, targets = _head(spec), _targets()
    head.loss(_features(), targets, (SIZE, SIZE))
    assert [threshold for threshold, _ in seen] == [0.5, 0.6, 0.7]
    first, second = seen[0][1], seen[1][1]
    assert second.shape[1] <= spec.roi_batch + 2
    for before, after in zip(first, second[:, :-2], strict=True):
        known = (after[:, None] == before).all(-1).any(1) | (after == 0).all(-1)
        assert not known.all()
    assert torch.equal(second[:, -2:], targets.boxes)
    candidates = head.eval().predict(_features(), (SIZE, SIZE))
    assert candidates.boxes.ndim == 3 and candidates.scores.shape[2] == 3


@torch.no_grad()
def test_the_score_of_a_cascade_is_the_mean_over_its_stages() -> None:
    head = _head(RcnnSpec(cascade=True, **{**TINY, "classes": 3})).eval()
    wanted = []
    for number, stage in enumerate(head.stages):
        stage.cls.weight.zero_()
        stage.cls.bias.copy_(torch.arange(4) * number)
        wanted.append(stage.cls.bias.softmax(0)[1:])
    scores = head.predict(_features(), (SIZE, SIZE)).scores
    torch.testing.assert_close(scores.amax((0, 1)), torch.stack(wanted).mean(0))


def test_costs_and_latency_are_told() -> None:
    """Each proposal counts; a cascade has three stages of them."""
    small, large = (_detector(RcnnSpec()).model_copy() for _ in range(2))
    head = small.head.model_copy(update={"proposals_test": 100})
    small = small.model_copy(update={"head": head})
    large = small.model_copy(update={"head": head.model_copy(update={"proposals_test": 200})})
    each = 32 * 49 * 48 + 48 * 48 + 48 * 15
    assert count_costs(large).macs - count_costs(small).macs == 100 * each
    cascade = small.model_copy(update={"head": head.model_copy(update={"cascade": True})})
    assert count_costs(cascade).macs > count_costs(small).macs
    assert measure_latency(small, threads=1, pairs=(2, 3)).ms > 0


@pytest.mark.parametrize("roi_op", ["align", "pool"])
def test_bfloat16_is_close_to_float32(roi_op: str) -> None:
    torch.manual_seed(0)
    detector = build_detector(_detector(RcnnSpec(mask=True, rpn_batch=EVERYTHING, roi_op=roi_op)))
    images, targets = _rectangles()
    exact = detector(images, targets)
    with torch.autocast("cpu", torch.bfloat16):
        rough = detector(images, targets)
    for name in ("rpn_cls", "rpn_box", "cls"):
        assert rough[name].dtype == torch.float32
        assert abs(float(exact[name] - rough[name])) < 0.1 * float(exact[name])
    assert detector.double()(images, targets)["loss"].dtype == torch.float64


@pytest.mark.parametrize("name", [n for n in SYSTEMS if SYSTEMS[n].spec.head.kind == "rcnn"])
def test_tiny_presets_keep_their_parts(name: str) -> None:
    full, tiny = SYSTEMS[name].spec.head, tiny_spec(SYSTEMS[name]).head
    for field in ("mask", "cascade", "box_head", "rpn_convs", "roi_op", "mask_norm"):
        assert getattr(full, field) == getattr(tiny, field)
