"""Training speed against torchvision's FCOS and RetinaNet at equal backbone, neck and head widths.

    python benchmarks/train_throughput.py --json [--data FOLDER]          4 minutes on 2 cores

One decision: all three are built around the same backbone and neck modules and the same tower widths and depths, and
run the same optimiser on the same images and boxes in turn, step by step, so that a disturbance of the machine hits all
alike; the figure is a ratio of median step times. Each runs as its project trains it: nasdet in bfloat16 (where the
processor computes it) and channels-last, torchvision as its own reference script does, in float32; `equal_precision`
gives the same ratios with all three in bfloat16, and with all three in float32, torchvision's weights
channels-last too.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS, FCOSClassificationHead, FCOSHead, FCOSRegressionHead
from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead

from nasdet.data import CachedSplit, open_data, train_loader
from nasdet.models import Detector, Targets, build_detector
from nasdet.models.costs import count_macs
from nasdet.models.norm import group_count
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.heads import TaskAlignedSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.specs import DetectorSpec, InputSpec, NormSpec, Recipe
from nasdet.trainers.loop import backward, optimizer_step, train_epoch
from nasdet.trainers.precision import native_bf16
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.training_state import Training

CLASSES = 3
LOOP_ROUNDS, LOOP_STEPS = 16, 9


def detector_spec(size: int, width: int) -> DetectorSpec:
    """ResNet-18 layout at `width`/64 of its width, FPN P3-P7, two towers of four convolutions."""
    stages = [StageSpec(depth=2, width=width * 2**i, stride=1 if i == 0 else 2) for i in range(4)]
    return DetectorSpec(
        input=InputSpec(height=size, width=size, mean=(124.0, 116.0, 104.0), std=(58.0, 57.0, 57.0)),
        backbone=StagedSpec(
            stem="conv7x7_pool", stem_width=width, block="basic", bottleneck_ratio=1.0, stages=tuple(stages)
        ),
        neck=PyramidSpec(kind="fpn", levels=(-3, -2, -1), width=2 * width, depth=1, extra_levels=2),
        head=TaskAlignedSpec(classes=CLASSES, width=2 * width, depth=4, bins=16),
        norm=NormSpec(kind="gn", groups=32),
    )


class Pyramid(nn.Module):
    """Backbone and neck of a detector as torchvision wants them."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.backbone, self.neck = detector.backbone, detector.neck
        self.out_channels = detector.neck.channels[0]

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict((str(i), x) for i, x in enumerate(self.neck(self.backbone(images))))


def torchvision_model(kind: str, spec: DetectorSpec, *, tower_norm: bool = True, **options: object) -> nn.Module:
    """torchvision's detector around the same pyramid; GN in its towers as in ours (fcos always), `options` are its
    own."""
    pyramid = Pyramid(build_detector(spec))
    classes, width, depth = spec.head.classes, spec.neck.width, spec.head.depth
    norm = partial(nn.GroupNorm, group_count(width, spec.norm.groups))
    images = options | {
        "min_size": spec.input.height,
        "max_size": spec.input.width,
        "image_mean": [v / 255 for v in spec.input.mean],
        "image_std": [v / 255 for v in spec.input.std],
    }
    if kind == "fcos":
        head = FCOSHead(width, 1, classes, depth)
        head.classification_head = FCOSClassificationHead(width, 1, classes, depth, norm_layer=norm)
        head.regression_head = FCOSRegressionHead(width, 1, depth, norm_layer=norm)
        return FCOS(pyramid, classes, head=head, **images)
    sizes = tuple((x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in (32, 64, 128, 256, 512))
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    head = RetinaNetHead(width, anchors.num_anchors_per_location()[0], classes, norm_layer=norm if tower_norm else None)
    return RetinaNet(pyramid, classes, anchor_generator=anchors, head=head, **images)


def make_batch(spec: DetectorSpec, batch: int, boxes: int = 14) -> tuple[Tensor, Targets]:
    """Images (B, 3, H, W) uint8 and as many boxes per image as blood-cell images have."""
    generator = torch.Generator().manual_seed(0)
    size = spec.input.height
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=generator)
    corner = torch.rand(batch, boxes, 2, generator=generator) * size * 0.75
    extent = (0.06 + 0.19 * torch.rand(batch, boxes, 2, generator=generator)) * size
    labels = torch.randint(0, CLASSES, (batch, boxes), generator=generator)
    targets = Targets(torch.cat([corner, corner + extent], -1), labels)
    return images.contiguous(memory_format=torch.channels_last), targets


def synchronise(device: torch.device) -> None:
    """Wait for what the device still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def our_loss(detector: Detector, images: Tensor, targets: Targets, bf16: bool) -> Callable[[], Tensor]:
    """One forward pass to the loss."""

    def loss() -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            return detector(images, targets)["loss"]

    return loss


def their_loss(model: nn.Module, images: Tensor, targets: Targets, bf16: bool) -> Callable[[], Tensor]:
    """One forward pass to the loss, from the same uint8 batch."""

    def loss() -> Tensor:
        inputs = [image.float() / 255 for image in images]
        truth = [{"boxes": b, "labels": c} for b, c in zip(targets.boxes, targets.labels, strict=True)]
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            losses = model(inputs, truth)
        return sum(losses.values())

    return loss


def timed_step(
    model: nn.Module, loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer | None = None
) -> Callable[[], float]:
    """A whole training step that returns its seconds; without `optimizer` of AdamW."""
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=True)

    def step() -> float:
        start = time.perf_counter()
        value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        synchronise(value.device)
        return time.perf_counter() - start

    return step


def race(steps: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median seconds of each, run in turn."""
    return {name: statistics.median(values) for name, values in interleaved(steps, rounds).items()}


def interleaved(steps: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each in every round, run in turn after two rounds to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 2):
        for name, step in steps.items():
            value = step()
            if number >= 2:
                seconds[name].append(value)
    return seconds


class Clock:
    """Seconds of the device's work since it was last asked."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        synchronise(device)
        self.last = time.perf_counter()

    def __call__(self) -> float:
        synchronise(self.device)
        now = time.perf_counter()
        passed, self.last = now - self.last, now
        return passed


def step_parts(detector: Detector, images: Tensor, targets: Targets, bf16: bool, rounds: int) -> dict[str, float]:
    """Median seconds of the parts of our step: network (both directions), loss with assignment, optimiser.

    The predictions are cut from the network, so that the gradient of the loss alone can be timed.
    """
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-4, weight_decay=0.05, fused=True)
    rows: list[dict[str, float]] = []
    for _ in range(rounds + 2):
        clock = Clock(images.device)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            dense = detector.head(detector.features(images))
        forward = clock()
        cut = dense._replace(logits=dense.logits.detach().requires_grad_(), sides=dense.sides.detach().requires_grad_())
        detector.head.dense_loss(cut, targets)["loss"].backward()
        loss = clock()
        torch.autograd.backward([dense.logits, dense.sides], [cut.logits.grad, cut.sides.grad])
        backward = clock()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        rows.append({"network": forward + backward, "loss": loss, "optimizer": clock()})
    return {name: statistics.median(row[name] for row in rows[2:]) for name in rows[0]}


def loop_parts(spec: DetectorSpec, batch: int, source: str, rounds: int, device: torch.device) -> dict[str, float]:
    """Median seconds of a step of the real loop on real data, of making its batch, of the bare step; and as "overhead"
    what the loop adds to a bare step and its data, as a share of the bare one.

    The bare step is forward, backward, clipping, optimiser and averaging on a batch made before. All three are taken in
    turn, `rounds` times a few steps; the overhead is the median over the rounds, so that the machine's drift cancels.
    """
    data = open_data(source)
    info = data.info
    image = spec.input.model_copy(update={"channels": info.channels, "mean": info.mean, "std": info.std})
    head = spec.head.model_copy(update={"classes": len(info.classes)})
    spec = DetectorSpec.model_validate(spec.model_copy(update={"input": image, "head": head}).to_json())
    split = data.cached("train", image.height, image.width)
    ranks = Ranks(device)
    training = Training.start(spec, Recipe(epochs=1000, batch_size=batch), seed=0, device=ranks.device)
    rows: list[dict[str, float]] = []
    for epoch in range(rounds):
        seconds: dict[str, list[float]] = {"loop": [], "data": [], "bare": []}
        loader = train_loader(
            split, augment=training.recipe.augment, batch_size=batch, epoch=epoch, seed=0, fill=image.mean
        )
        clock, batches = Clock(device), []
        for batch_of_step in itertools.islice(loader, LOOP_STEPS):
            batches.append(batch_of_step)
            seconds["data"].append(clock())
        for one in batches:
            clock()
            backward(training, training.detector, one)
            optimizer_step(training)
            seconds["bare"].append(clock())
        seconds["loop"] += _loop_steps(training, split, ranks)
        rows.append({name: statistics.median(values) for name, values in seconds.items()})
    overheads = [(row["loop"] - row["data"]) / row["bare"] - 1 for row in rows[1:]]
    return {
        **{name: statistics.median(row[name] for row in rows[1:]) for name in rows[0]},
        "overhead": statistics.median(overheads),
    }


def _loop_steps(training: Training, split: CachedSplit, ranks: Ranks) -> list[float]:
    """Seconds of the first steps of an epoch of the real loop, but for the first."""
    clock, steps = Clock(ranks.device), list[float]()

    def on_step(step: int, _steps: int) -> None:
        steps.append(clock())
        if step == LOOP_STEPS:
            raise StopIteration

    with contextlib.suppress(StopIteration):
        train_epoch(training, training.detector, split, ranks, on_step)
    return steps[1:]


def measure(size: int, width: int, batch: int, rounds: int, source: str, device: torch.device) -> dict[str, object]:
    """All figures of one configuration."""
    spec = detector_spec(size, width)
    images, targets = make_batch(spec, batch)
    images, targets = images.to(device), Targets(targets.boxes.to(device), targets.labels.to(device))
    ours = build_detector(spec).to(device, memory_format=torch.channels_last).train()
    theirs = {kind: torchvision_model(kind, spec).to(device).train() for kind in ("fcos", "retinanet")}
    macs = {"nasdet": count_macs(ours, our_loss(ours, images, targets, False))}
    macs |= {kind: count_macs(model, their_loss(model, images, targets, False)) for kind, model in theirs.items()}

    def run(our_bf16: bool, their_bf16: bool, layout: torch.memory_format) -> dict[str, float]:
        steps = {"nasdet": timed_step(ours, our_loss(ours, images, targets, our_bf16))}
        for kind, model in theirs.items():
            model.to(memory_format=layout)
            steps[kind] = timed_step(model, their_loss(model, images, targets, their_bf16))
        return race(steps, rounds)

    def ratios(seconds: dict[str, float]) -> dict[str, float]:
        return {f"vs_{kind}": seconds[kind] / seconds["nasdet"] for kind in theirs}

    bf16 = native_bf16(device.type)
    shipped = run(bf16, False, torch.contiguous_format)
    parts = step_parts(ours, images, targets, bf16, rounds)
    loop = loop_parts(spec, batch, source, LOOP_ROUNDS, device)
    parts["data"] = loop["data"]
    return {
        **ratios(shipped),
        "flops_ratio": max(macs.values()) / min(macs.values()),
        "non_conv_share": 1 - parts["network"] / sum(parts.values()),
        "loop_overhead": loop.pop("overhead"),
        "loop_seconds": loop,
        "images_per_second": {name: batch / seconds for name, seconds in shipped.items()},
        "step_seconds": parts,
        "gmacs_per_image": {name: value / batch / 1e9 for name, value in macs.items()},
        "equal_precision": {
            "bf16": ratios(run(True, True, torch.channels_last)) if bf16 else None,
            "fp32": ratios(run(False, False, torch.channels_last)),
        },
        "setting": {
            "size": size,
            "batch": batch,
            "width": width,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "nasdet_precision": "bf16" if bf16 else "fp32",
            "torchvision_precision": "fp32",
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--size", type=int, default=256, help="rows and columns of an image, a multiple of 32")
    parser.add_argument("--width", type=int, default=32, help="channels of the first stage; 64 is ResNet-18")
    parser.add_argument("--batch", type=int, default=4, help="images per step")
    parser.add_argument("--data", default="digits", help="data set of the loop's figures")
    parser.add_argument("--rounds", type=int, default=9, help="timed steps of each detector")
    parser.add_argument("--threads", type=int, default=0, help="threads of an operator; 0: torch's own choice")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    args = parser.parse_args()
    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    result = measure(args.size, args.width, args.batch, args.rounds, args.data, torch.device(args.device))
    print(json.dumps(result) if args.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
