"""Two-stage detection: Faster, Cascade and Mask R-CNN. A cascade is the same box stage three times, each of which
starts from the boxes of the one before; Faster R-CNN is a cascade of one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms, clip_boxes_to_image

from nasdet.models.heads.base import Candidates, Detections, HeadModule, Targets, at_least_one, no_autocast, upcast_half
from nasdet.models.heads.matching import NEGATIVE, POSITIVE, UNUSED, Matches, draw, match
from nasdet.models.heads.rcnn.box_head import BoxHead, Regions, gather
from nasdet.models.heads.rcnn.mask_head import POOLED, MaskHead, of_class
from nasdet.models.heads.rcnn.pooling import RoiPool
from nasdet.models.heads.rcnn.rpn import ProposalNetwork, pad
from nasdet.models.layers import Layers
from nasdet.space.heads import RcnnSpec

IOUS = (0.5, 0.6, 0.7)  # of positives, stage by stage (Cai and Vasconcelos 2018)
CODER_WEIGHTS = ((10.0, 5.0), (20.0, 10.0), (30.0, 15.0))  # later stages move boxes less
STAGE_WEIGHTS = (1.0, 0.5, 0.25)  # of the losses
HARD_NMS = 0.7  # regions of OHEM that overlap a harder one more than this are dropped


class RcnnHead(HeadModule):
    """Region proposals, pooled features, one or three box stages, and masks.

    Costs and latency hold for at most `proposals_test` proposals of an image and without the mask branch, whose work
    depends on what was found.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], spec: RcnnSpec, layers: Layers) -> None:
        super().__init__()
        self.spec, self.wants_masks = spec, spec.mask
        width, pooled = channels[0], tuple(strides[: spec.roi_levels])
        self.rpn = ProposalNetwork(width, strides, spec, layers)
        self.pool = RoiPool(spec.roi_op, spec.roi_size, pooled, spec.canonical_size)
        count = len(IOUS) if spec.cascade else 1
        self.stages = nn.ModuleList(BoxHead(width, spec, layers, CODER_WEIGHTS[i]) for i in range(count))
        self.mask = MaskHead(width, pooled, spec, layers) if spec.mask else None

    def init_weights(self) -> None:
        """The predicting layers of proposals and boxes; that of masks starts like any other."""
        self.rpn.init_weights()
        for stage in self._stages():
            stage.init_weights()

    def loss(self, features: Sequence[Tensor], targets: Targets, size: tuple[int, int]) -> dict[str, Tensor]:
        """Scalars "loss", its parts "rpn_cls", "rpn_box", "cls", "box" ("mask"), and of the proposals per image, before
        any are drawn, "positives" and "negatives" of the first stage.

        All are means over what one worker draws, whose number is the same for all while there are enough proposals.
        """
        raw = self.rpn(features)
        device = raw.logits.device
        targets = at_least_one(targets, raw.logits.dtype)
        with no_autocast(device):
            parts = self.rpn.loss(raw, targets)
            before, after = self.spec.proposals_pre_train, self.spec.proposals_train
            boxes, real = self.rpn.propose(raw, size, before=before, after=after)
        regions, counts = self._box_losses(features, boxes, real, targets, size, parts)
        if self.mask is not None:
            assert targets.masks is not None, "the loader gives masks to heads that want them"
            parts["mask"] = self.mask.loss(features, regions, targets.masks)
        total = torch.stack(list(parts.values())).sum()
        return {"loss": total, **{k: v.detach() for k, v in parts.items()}, **counts}

    def predict(self, features: Sequence[Tensor], size: tuple[int, int]) -> Candidates:
        """Every proposal with the last stage's boxes, (B, R, K, 4), in a cascade (B, R, 4), and the mean score of the
        stages; 0 below `score_threshold`."""
        raw = self.rpn(features)
        with no_autocast(raw.logits.device):
            before, after = self.spec.proposals_pre_test, self.spec.proposals_test
            boxes, real = self.rpn.propose(raw, size, before=before, after=after)
        batch, count = real.shape
        images = torch.arange(batch, device=boxes.device).repeat_interleave(count)
        regions, scores = boxes.flatten(0, 1), []
        decoded = regions[:, None]
        for stage in self._stages():
            logits, deltas = stage(self.pool(features, regions, images))
            with no_autocast(boxes.device):
                scores.append(upcast_half(logits).softmax(-1)[:, 1:])
                decoded = stage.decode(upcast_half(deltas), regions)
            regions = clip_boxes_to_image(decoded[:, 0], size)  # of a cascade, where all classes share it
        score = torch.stack(scores).mean(0).unflatten(0, (batch, count)) * real[..., None]
        score = score * (score > self.spec.score_threshold)
        decoded = decoded.unflatten(0, (batch, count))
        return Candidates(decoded[:, :, 0] if self.spec.cascade else decoded[:, :, 1:], score)

    def refine(self, features: Sequence[Tensor], found: list[Detections], size: tuple[int, int]) -> list[Detections]:
        """The mask of each box in its own class; of Faster and Cascade R-CNN nothing."""
        if self.mask is None:
            return found
        counts = [len(one.boxes) for one in found]
        if not sum(counts):
            return [one._replace(masks=one.boxes.new_zeros(0, 2 * POOLED, 2 * POOLED)) for one in found]
        boxes, labels = torch.cat([one.boxes for one in found]), torch.cat([one.labels for one in found])
        images = torch.cat([torch.full_like(one.labels, number) for number, one in enumerate(found)])
        logits = upcast_half(self.mask(features, boxes, images))
        masks = of_class(logits, labels + 1).sigmoid()
        return [one._replace(masks=own) for one, own in zip(found, masks.split(counts), strict=True)]

    def _stages(self) -> list[BoxHead]:
        return [stage for stage in self.stages if isinstance(stage, BoxHead)]

    def _box_losses(
        self,
        features: Sequence[Tensor],
        boxes: Tensor,
        real: Tensor,
        targets: Targets,
        size: tuple[int, int],
        parts: dict[str, Tensor],
    ) -> tuple[Regions, dict[str, Tensor]]:
        """Add "cls" and "box" of all stages to `parts`; gives the first stage's regions and `_counts`.

        The proposals of a stage, (B, R, 4) where `real` (B, R), are those of the network or what the stage before made
        of its own; the objects' boxes always join them.
        """
        firsts = []
        # One stage after another: match the proposals and the objects' own boxes at the stage's IoU, choose regions,
        # pool and predict, sum the losses; the refined regions are the next stage's proposals.
        for number, stage in enumerate(self._stages()):
            boxes, real = _with_objects(boxes, real, targets)
            found = match(boxes, targets, positive=IOUS[number], negative=IOUS[number])
            found = Matches(found.objects, torch.where(real, found.state, UNUSED))
            regions = gather(self._choose(stage, features, boxes, found, targets), boxes, found, targets)
            firsts.append((regions, _counts(found.state)))
            logits, deltas = self._run(stage, features, regions)
            with no_autocast(logits.device):
                for name, values in zip(("cls", "box"), stage.losses(logits, deltas, regions), strict=True):
                    own = STAGE_WEIGHTS[number] * values.mean()
                    parts[name] = parts[name] + own if name in parts else own
                if number + 1 < len(self.stages):
                    refined = stage.best(deltas.detach(), regions, size)
                    boxes, real = pad([refined[regions.images == image] for image in range(len(boxes))])
        return firsts[0]

    def _run(self, stage: BoxHead, features: Sequence[Tensor], regions: Regions) -> tuple[Tensor, Tensor]:
        """Logits and deltas of a stage, in at least float32."""
        logits, deltas = stage(self.pool(features, regions.boxes, regions.images))
        return upcast_half(logits), upcast_half(deltas)

    def _choose(
        self, stage: BoxHead, features: Sequence[Tensor], boxes: Tensor, found: Matches, targets: Targets
    ) -> Tensor:
        """Which of boxes (B, N, 4) a stage learns from, drawn or those it does worst: (B, N) bool."""
        if self.spec.ohem:
            return self._hardest(stage, features, boxes, found, targets)
        return draw(found.state, self.spec.roi_batch, self.spec.roi_positives)

    @torch.no_grad()
    def _hardest(
        self, stage: BoxHead, features: Sequence[Tensor], boxes: Tensor, found: Matches, targets: Targets
    ) -> Tensor:
        """Of boxes (B, N, 4) those with the largest losses, `roi_batch` of each image and of near duplicates only the
        hardest: (B, N) bool.

        Evaluation mode, so that batch norms see what is learnt and nothing else.
        """
        # Losses of all usable regions, then suppression by loss in place of score, and the hardest of each image.
        usable = found.state != UNUSED
        every = gather(usable, boxes, found, targets)
        chosen = torch.zeros_like(usable)
        if not usable.any():
            return chosen
        training = stage.training
        logits, deltas = self._run(stage.eval(), features, every)
        stage.train(training)
        with no_autocast(logits.device):
            cls, box = stage.losses(logits, deltas, every)
            kept = batched_nms(every.boxes, cls + box, every.images, HARD_NMS)  # losses fall
        images, places = (column[kept] for column in usable.nonzero(as_tuple=True))
        for image, row in enumerate(chosen):
            row[places[images == image][: self.spec.roi_batch]] = True
        return chosen


def _with_objects(boxes: Tensor, real: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Proposals (B, R, 4) and the objects' boxes behind them, and where both are no padding (B, R)."""
    return torch.cat([boxes, targets.boxes], dim=1), torch.cat([real, targets.labels >= 0], dim=1)


def _counts(state: Tensor) -> dict[str, Tensor]:
    """Positives and negatives per image of (B, R)."""
    return {
        "positives": (state == POSITIVE).sum() / len(state),
        "negatives": (state == NEGATIVE).sum() / len(state),
    }
