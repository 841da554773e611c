"""AP after equal wall-clock against torchvision's FCOS and RetinaNet around the same backbone and neck.

    python benchmarks/accuracy_at_time.py --json --data FOLDER --minutes 3

One decision: the three share backbone, neck, tower widths, batches, augmentation, AdamW, learning-rate schedule (laid
over the time) and weight averaging; what differs is head, assignment, losses, and the precision each project trains in
by default (nasdet: bfloat16 where it is native; torchvision: float32, or with --amp bfloat16 as well).
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from train_throughput import detector_spec, our_loss, their_loss, torchvision_model

from nasdet.data import CachedSplit, Dataset, eval_loader, open_data, train_loader
from nasdet.evaluation import Predictions, coco_metrics
from nasdet.models import Detections, Detector, Targets, build_detector
from nasdet.space.specs import AugmentSpec, DetectorSpec, Recipe
from nasdet.trainers.precision import native_bf16
from nasdet.trainers.schedule import lr_factor

AUGMENT = AugmentSpec(strength=0.3, hflip=True, vflip=True)
Loss = Callable[..., Callable[[], Tensor]]
Detect = Callable[[nn.Module, Tensor], list[Detections]]


def train(
    model: nn.Module, loss: Loss, bf16: bool, split: CachedSplit, fill: tuple[float, ...],
    seconds: float, lr: float, batch: int,
) -> tuple[nn.Module, int]:  # fmt: skip
    """Train for so many seconds; returns the averaged weights and the number of images seen."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.02, fused=True)
    average = ModelEmaV3(model, decay=0.99, use_warmup=True, warmup_power=0.75)
    length = Recipe(epochs=100, warmup=3.0)
    start, steps = time.perf_counter(), 0
    for epoch in itertools.count():
        for one in train_loader(split, augment=AUGMENT, batch_size=batch, epoch=epoch, seed=0, fill=fill):
            passed = (time.perf_counter() - start) / seconds
            if passed >= 1:
                return average.module, steps * batch
            for group in optimizer.param_groups:
                group["lr"] = lr * lr_factor(length, 100 * passed)
            targets = Targets(one.boxes, one.labels)
            if (one.labels >= 0).any(1).all():
                loss(model, one.images, targets, bf16)().backward()
                nn.utils.clip_grad_norm_(model.parameters(), 10.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                steps += 1
                average.update(model, step=steps)
    raise AssertionError


def their_targets_loss(model: nn.Module, images: Tensor, targets: Targets, bf16: bool) -> Callable[[], Tensor]:
    """`their_loss` with the padding rows taken out."""
    rows = [(b[c >= 0], c[c >= 0]) for b, c in zip(targets.boxes, targets.labels, strict=True)]
    boxes, labels = zip(*rows, strict=True)
    return their_loss(model, images, Targets(list(boxes), list(labels)), bf16)  # type: ignore[arg-type]


def their_detect(model: nn.Module, images: Tensor) -> list[Detections]:
    """torchvision's detections as ours."""
    found = model([image.float() / 255 for image in images])
    return [Detections(f["boxes"], f["scores"], f["labels"]) for f in found]


@torch.inference_mode()
def score(model: nn.Module, detect: Detect, data: Dataset, split_name: str, spec: DetectorSpec) -> dict[str, float]:
    """COCO figures on a split."""
    model.eval()
    split = data.cached(split_name, spec.input.height, spec.input.width)
    parts = []
    for one in eval_loader(split, batch_size=8, fill=spec.input.mean):
        for index, found in zip(one.indices.tolist(), detect(model, one.images), strict=True):
            ids = np.full(len(found.scores), split.image_id(index), np.int64)
            boxes = found.boxes.double().numpy() / split.scale(index)
            parts.append(Predictions(ids, boxes, found.scores.double().numpy(), found.labels.numpy()))
    return coco_metrics(data.coco(split_name), Predictions.concatenate(parts))


def measure(source: str, size: int, width: int, batch: int, minutes: float, lr: float, amp: bool) -> dict[str, Any]:
    """AP of the three after `minutes` each."""
    data = open_data(source)
    info, spec = data.info, detector_spec(size, width)
    image = spec.input.model_copy(update={"mean": info.mean, "std": info.std})
    head = spec.head.model_copy(update={"classes": len(info.classes)})
    spec = DetectorSpec.model_validate(spec.model_copy(update={"input": image, "head": head}).to_json())
    split = data.cached("train", size, size)
    last = "test" if "test" in info.splits else "val"
    result: dict[str, Any] = {}
    for name in ("nasdet", "fcos", "retinanet"):
        torch.manual_seed(0)
        ours = name == "nasdet"
        model = build_detector(spec) if ours else torchvision_model(name, spec)
        loss, bf16 = (our_loss, native_bf16("cpu")) if ours else (their_targets_loss, amp)
        trained, seen = train(model.train(), loss, bf16, split, image.mean, 60 * minutes, lr, batch)
        figures = score(trained, Detector.detect if ours else their_detect, data, last, spec)
        result[name] = {"ap": figures["ap"], "ap50": figures["ap50"], "images_seen": seen}
    return {**result, "split": last, "minutes": minutes, "size": size, "width": width, "batch": batch, "lr": lr}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--data", default="", help="a folder of RGB images; without one there is nothing to compare")
    parser.add_argument("--minutes", type=float, default=3.0, help="training of each")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-3, help="of AdamW, the same for all")
    parser.add_argument("--amp", action="store_true", help="bfloat16 for torchvision's too")
    args = parser.parse_args()
    if not args.data:
        print(json.dumps({"skipped": "no --data"}))
        return
    result = measure(args.data, args.size, args.width, args.batch, args.minutes, args.lr, args.amp)
    print(json.dumps(result) if args.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
