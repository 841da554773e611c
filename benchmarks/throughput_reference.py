"""Training speed of our RetinaNet, FCOS, Faster and Mask R-CNN against torchvision's own, on the same networks.

    python benchmarks/throughput_reference.py --json          10 minutes on 2 cores

One decision: both sides are built around the same backbone and neck modules with the same first weights, the same head
widths, norms, anchors, numbers of proposals and regions and class count, in float32 and channels-last, with the same
SGD on the same images, boxes and masks; what differs is the head with its assignment and losses, and the way an image
gets to the network (torchvision's resizing is switched off: the images have their size). Steps run in turn, and the
figure is the median over the rounds of torchvision's time over ours. The network is a narrow ResNet-18 at a small size,
where what surrounds the convolutions weighs most, with P3-P7 (one stage) or P2-P6 (two).
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from train_throughput import (
    CLASSES,
    Pyramid,
    detector_spec,
    interleaved,
    make_batch,
    our_loss,
    their_loss,
    timed_step,
    torchvision_model,
)

from nasdet.models import Targets, build_detector
from nasdet.models.costs import count_macs
from nasdet.space.heads import FcosSpec, RcnnSpec, RetinaNetSpec
from nasdet.space.specs import DetectorSpec

ONE_STAGE = {"retinanet": RetinaNetSpec, "fcos": FcosSpec}
TWO_STAGE = {"faster_rcnn": FasterRCNN, "mask_rcnn": MaskRCNN}
POSITIVES = {"faster_rcnn": 0.25, "mask_rcnn": 1 / 32}
"""Largest share of objects' regions among the 512 of an image. Masks are learnt in those alone: at 1/32 that is 14 (the
objects themselves) to 16 on either side, at 0.25 any number up to 128, by which single steps differ two-fold."""


def our_spec(kind: str, size: int, width: int) -> DetectorSpec:
    """The detector of `train_throughput` under a head of `kind`."""
    spec = detector_spec(size, width)
    if kind in ONE_STAGE:
        return spec.model_copy(update={"head": ONE_STAGE[kind](classes=CLASSES, width=spec.neck.width, depth=4)})
    neck = spec.neck.model_copy(update={"levels": (-4, -3, -2, -1), "extra_levels": 1, "extra": "pool"})
    head = RcnnSpec(classes=CLASSES, mask=kind == "mask_rcnn", roi_positives=POSITIVES[kind])
    return spec.model_copy(update={"neck": neck, "head": head})


def reference(kind: str, spec: DetectorSpec) -> nn.Module:
    """torchvision's detector around the same pyramid; its two-stage defaults are those of `RcnnSpec`."""
    if kind in ONE_STAGE:
        return torchvision_model(kind, spec, tower_norm=spec.head.tower_norm, _skip_resize=True)
    image = {"image_mean": [v / 255 for v in spec.input.mean], "image_std": [v / 255 for v in spec.input.std]}
    share = {"box_positive_fraction": POSITIVES[kind]}
    return TWO_STAGE[kind](Pyramid(build_detector(spec)), CLASSES + 1, **share, **image, _skip_resize=True)


def discs(targets: Targets, size: int) -> Targets:
    """The targets with masks (B, M, size, size): the ellipse inside each box."""
    x1, y1, x2, y2 = (side[..., None, None] for side in targets.boxes.unbind(-1))
    rows = torch.arange(size, device=targets.boxes.device) + 0.5
    across, down = (2 * rows - x1 - x2) / (x2 - x1), (2 * rows[:, None] - y1 - y2) / (y2 - y1)
    return targets._replace(masks=across**2 + down**2 <= 1)


def their_two_stage_loss(model: nn.Module, images: Tensor, targets: Targets, bf16: bool) -> Callable[[], Tensor]:
    """One forward pass to the loss; class 0 is the background there."""

    def loss() -> Tensor:
        inputs = [image.float() / 255 for image in images]
        columns = [targets.boxes, targets.labels + 1, *([] if targets.masks is None else [targets.masks])]
        truth = [dict(zip(("boxes", "labels", "masks"), row, strict=False)) for row in zip(*columns, strict=True)]
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            losses = model(inputs, truth)
        return sum(losses.values())

    return loss


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """Both sides' optimiser."""
    return torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4, foreach=True)


def compare(kind: str, size: int, width: int, batch: int, rounds: int, device: torch.device) -> dict[str, object]:
    """Ratio of images per second of one kind, ours over torchvision's, and what it was taken from."""
    spec = our_spec(kind, size, width)
    images, targets = make_batch(spec, batch)
    images, targets = images.to(device), Targets(targets.boxes.to(device), targets.labels.to(device))
    if kind == "mask_rcnn":
        targets = discs(targets, size)
    torch.manual_seed(0)
    ours = build_detector(spec)
    torch.manual_seed(0)
    theirs = reference(kind, spec)
    losses = {}
    their = their_loss if kind in ONE_STAGE else their_two_stage_loss
    for name, model, loss in (("nasdet", ours, our_loss), ("torchvision", theirs, their)):
        model.to(device, memory_format=torch.channels_last).train()
        losses[name] = model, loss(model, images, targets, False)
    macs = {name: count_macs(model, loss) for name, (model, loss) in losses.items()}
    seconds = interleaved({n: timed_step(model, loss, sgd(model)) for n, (model, loss) in losses.items()}, rounds)
    ratios = [b / a for a, b in zip(seconds["nasdet"], seconds["torchvision"], strict=True)]
    quarters = statistics.quantiles(ratios, n=4)
    return {
        "ratio": statistics.median(ratios),
        "quartiles": [quarters[0], quarters[2]],
        "images_per_second": {name: batch / statistics.median(values) for name, values in seconds.items()},
        "flops_ratio": macs["nasdet"] / macs["torchvision"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--size", type=int, default=256, help="rows and columns of an image, a multiple of 128")
    parser.add_argument("--width", type=int, default=32, help="channels of the first stage; 64 is ResNet-18")
    parser.add_argument("--batch", type=int, default=4, help="images per step")
    parser.add_argument("--rounds", type=int, default=21, help="timed steps of each side")
    parser.add_argument("--threads", type=int, default=0, help="threads of an operator; 0: torch's own choice")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--only", choices=(*ONE_STAGE, *TWO_STAGE), help="one kind of head")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    kinds = [args.only] if args.only else [*ONE_STAGE, *TWO_STAGE]
    result: dict[str, object] = {
        kind: compare(kind, args.size, args.width, args.batch, args.rounds, device) for kind in kinds
    }
    result["setting"] = {
        **{name: getattr(args, name) for name in ("size", "width", "batch", "rounds")},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "precision": "fp32",
        "torch": torch.__version__,
    }
    print(json.dumps(result) if args.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
