"""Training speed of our RetinaNet and FCOS against torchvision's own, the same network on both sides.

    python benchmarks/throughput_reference.py --json          5 minutes on 2 cores

One decision: both sides are built around the same backbone and neck modules with the same first weights, the same tower
widths, norms, anchors and class count, in float32 and channels-last, with the same SGD on the same images and boxes;
what differs is the head with its assignment and losses, and the way an image gets to the network (torchvision's
resizing is switched off: the images have their size). Steps run in turn, and the figure is the median over the rounds
of torchvision's time over ours. The network is a narrow ResNet-18 with P3-P7 at a small size, where what surrounds the
convolutions weighs most.
"""

from __future__ import annotations

import argparse
import json
import statistics

import torch
from torch import nn
from train_throughput import (
    CLASSES,
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
from nasdet.space.heads import FcosSpec, RetinaNetSpec
from nasdet.space.specs import DetectorSpec

HEADS = {"retinanet": RetinaNetSpec, "fcos": FcosSpec}


def our_spec(kind: str, size: int, width: int) -> DetectorSpec:
    """The detector of `train_throughput` under a head of `kind`."""
    spec = detector_spec(size, width)
    return spec.model_copy(update={"head": HEADS[kind](classes=CLASSES, width=spec.neck.width, depth=4)})


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """Both sides' optimiser."""
    return torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4, foreach=True)


def compare(kind: str, size: int, width: int, batch: int, rounds: int, device: torch.device) -> dict[str, object]:
    """Ratio of images per second of one kind, ours over torchvision's, and what it was taken from."""
    spec = our_spec(kind, size, width)
    images, targets = make_batch(spec, batch)
    images, targets = images.to(device), Targets(targets.boxes.to(device), targets.labels.to(device))
    torch.manual_seed(0)
    ours = build_detector(spec)
    torch.manual_seed(0)
    theirs = torchvision_model(kind, spec, tower_norm=spec.head.tower_norm, _skip_resize=True)
    losses = {}
    for name, model, loss in (("nasdet", ours, our_loss), ("torchvision", theirs, their_loss)):
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
    parser.add_argument("--only", choices=tuple(HEADS), help="one kind of head")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    kinds = [args.only] if args.only else list(HEADS)
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
