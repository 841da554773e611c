"""The literature's claims about training from scratch, as small studies on the built-in digits.

    python benchmarks/claims.py --json roi_op              one claim; without a name all of them
    python benchmarks/claims.py --json stem --seeds 3 --epochs 8

One decision: a claim is two or more variants that differ in one thing, trained with equal seeds, images and optimiser
steps; what is printed is every AP, its mean and deviation, and whether the difference exceeds twice its standard error.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import time
from typing import Any

import numpy as np
import torch

from nasdet.data import CachedSplit, Dataset, default_cache_root, open_data
from nasdet.space.presets import deep_merge
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.trainers.evaluate import evaluate
from nasdet.trainers.loop import parallel, train_epoch
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.training_state import Training

SIZE = 96
RESIDUAL: dict[str, Any] = {
    "backbone": {
        "stem": "deep3x3",
        "stem_width": 16,
        "block": "basic",
        "bottleneck_ratio": 1.0,
        "stages": [{"width": 24, "stride": 1}, {"width": 48, "stride": 2}, {"width": 96, "stride": 2}],
    },
    "neck": {"kind": "fpn", "levels": [-2, -1], "width": 48},
    "head": {"width": 48, "depth": 1, "bins": 8},
    "norm": {"kind": "gn", "groups": 8},
}
DSOD: dict[str, Any] = {
    "backbone": {
        "kind": "dsod",
        "stem_width": 16,
        "bottleneck": 32,
        "growth_rate": 16,
        "depths": [2, 3, 3, 3],
        "last_width": 64,
    },
    "neck": {"kind": "dsod", "levels": [-2, -1], "halves": [32, 32], "join_width": 64},
    "head": {"kind": "ssd", "l2_norm": "all", "first_scale": 0.2, "min_scale": 0.35, "aspect_ratios": [[2]]},
    "norm": {"kind": "gn", "groups": 8},
}
TWO_STAGE: dict[str, Any] = {
    **RESIDUAL,
    "head": {"kind": "rcnn", "fc_width": 128, "rpn_convs": 1, "roi_batch": 64, "rpn_batch": 64}
    | {"proposals_pre_train": 300, "proposals_train": 300},
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """One side of a claim."""

    spec: dict[str, Any]
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)
    fraction: float = 1.0
    """Share of the training images; the number of optimiser steps stays that of all images."""


def _two_fractions(**specs: dict[str, Any]) -> dict[str, Variant]:
    return {
        f"{name}, {share:.0%}": Variant(spec, fraction=share) for share in (1.0, 0.1) for name, spec in specs.items()
    }


FAST = {"base_lr": 6e-3}  # twice the rate that the others learn with, where spikes of the gradient would hurt
CLAIMS: dict[str, dict[str, Variant]] = {
    "stem": {
        "3x3 stem": Variant(RESIDUAL),
        "7x7/2 stem": Variant(deep_merge(RESIDUAL, {"backbone": {"stem": "conv7x7_pool"}})),
    },
    "statistics": {
        "gn": Variant(RESIDUAL),
        "bn over 16 images": Variant(deep_merge(RESIDUAL, {"norm": {"kind": "bn"}})),
        "bn over 2 images": Variant(deep_merge(RESIDUAL, {"norm": {"kind": "bn"}}), {"images_per_statistic": 2}),
    },
    "prediction": _two_fractions(
        dense=DSOD, plain=deep_merge(DSOD, {"neck": {"kind": "dsod_plain"}})
    ),
    "connections": _two_fractions(
        dense=DSOD,
        residual={**DSOD, "backbone": deep_merge(RESIDUAL["backbone"], {"stages": [
            {"width": 40, "stride": 1}, {"width": 64, "stride": 2}, {"width": 64, "stride": 2, "depth": 2}]})},
    ),
    "roi_op": {
        "RoIAlign": Variant(TWO_STAGE),
        "RoI pooling": Variant(deep_merge(TWO_STAGE, {"head": {"roi_op": "pool"}})),
    },
    "clipping": {
        "clipped at 1": Variant(TWO_STAGE, {**FAST, "clip_norm": 1.0}),
        "not clipped": Variant(TWO_STAGE, {**FAST, "clip_norm": 0.0}),
    },
}  # fmt: skip
"""Claim -> variants; the first is the one that the literature prefers."""


def train_once(variant: Variant, data: Dataset, seed: int, epochs: int) -> float:
    """AP on the validation split, of the averaged weights after the last step; 0 if the training diverges."""
    info = data.info
    image = {"height": SIZE, "width": SIZE, "channels": info.channels, "mean": info.mean, "std": info.std}
    spec = DetectorSpec.model_validate(
        deep_merge(variant.spec, {"input": image, "head": {"classes": len(info.classes)}})
    )
    augment = {"strength": 0.1, "hflip": False}
    recipe = Recipe.model_validate(
        {"epochs": round(epochs / variant.fraction), "batch_size": 16, "base_lr": 3e-3, "warmup": 1.0, "ema": 0.5}
        | {"augment": augment}
        | variant.recipe
    )
    ranks = Ranks(torch.device("cpu"))
    training = Training.start(spec, recipe, seed=seed, device=ranks.device)
    records = data.images("train")
    chosen = np.random.default_rng(seed).permutation(len(records))[: round(variant.fraction * len(records))]
    folder = default_cache_root() / "pixels"
    split = CachedSplit(info, "train", [records[i] for i in sorted(chosen)], SIZE, SIZE, folder=folder)
    model = parallel(training, ranks)
    try:
        while training.epoch < recipe.epochs:
            train_epoch(training, model, split, ranks)
    except Exception as error:
        print(f"  seed {seed}: {error}", flush=True)
        return 0.0
    return evaluate(training.evaluated, data, "val", ranks)["ap"]


def study(name: str, seeds: int, epochs: int, quiet: bool) -> dict[str, Any]:
    """All variants of one claim, seed by seed in turn, so that a drift of the machine meets all alike."""
    data, start = open_data("digits"), time.perf_counter()
    found: dict[str, list[float]] = {variant: [] for variant in CLAIMS[name]}
    for seed in range(seeds):
        for label, variant in CLAIMS[name].items():
            found[label].append(train_once(variant, data, seed, epochs))
            if not quiet:
                print(f"  {name}: {label}, seed {seed}: AP {found[label][-1]:.3f}", flush=True)
    rows = {
        label: {"mean": statistics.fmean(aps), "deviation": statistics.stdev(aps) if seeds > 1 else None, "ap": aps}
        for label, aps in found.items()
    }
    return {"variants": rows, "differences": _differences(found), "seconds": time.perf_counter() - start}


def _differences(found: dict[str, list[float]]) -> dict[str, Any]:
    """Each variant against the first of its data fraction, paired by seed: mean, standard error, and the verdict."""
    result = {}
    labels = list(found)
    for label in labels:
        share = label.partition(", ")[2]
        first = next(other for other in labels if other.partition(", ")[2] == share)
        if label == first or len(found[label]) < 2:
            continue
        pairs = [a - b for a, b in zip(found[first], found[label], strict=True)]
        mean, error = statistics.fmean(pairs), statistics.stdev(pairs) / math.sqrt(len(pairs))
        verdict = "confirmed" if mean > 2 * error else "contradicted" if mean < -2 * error else "not decided"
        result[f"{first} - {label}"] = {"mean": mean, "standard_error": error, "verdict": verdict}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=f"of {', '.join(CLAIMS)}; none: all")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8, help="of all training images")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    unknown = set(args.claims) - set(CLAIMS)
    if unknown:
        parser.error(f"no claim {sorted(unknown)[0]!r}; known: {', '.join(CLAIMS)}")
    torch.set_num_threads(args.threads)
    result = {name: study(name, args.seeds, args.epochs, args.json) for name in args.claims or CLAIMS}
    print(json.dumps(result, indent=None if args.json else 2))


if __name__ == "__main__":
    main()
