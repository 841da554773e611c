"""What a search space holds, without training: sizes, infeasible share, rules that act, time of the search.

One decision: candidates are counted on the meta device; only the speed is measured, by forward and backward passes of
the median candidate on random images with its weights left alone, and scaled by multiply-adds.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from nasdet.data.narrow_boxes import TrainingBoxes
from nasdet.driver.planner import resolve, workers_of_a_trial
from nasdet.driver.resources import check_latency_backend, this_machine
from nasdet.driver.study.candidates import not_split
from nasdet.errors import InputError
from nasdet.models import Targets, build_detector, count_costs
from nasdet.space import RULES, Built, DataInfo, SearchSpace, build_specs
from nasdet.space.specs import DetectorSpec, InputSpec
from nasdet.torch_settings import torch_threads

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
TRIAL_SECONDS = 2.0
"""Allowance for what a trial costs beside its training steps: evaluation, latency, bookkeeping."""
START_SECONDS = 20.0
"""Allowance for the start of the workers."""
_TIMED_GFLOPS = 2.0


@dataclasses.dataclass(frozen=True)
class AssumedData:
    """Stands in for a data set that is not given."""

    channels: int = 3
    classes: tuple[str, ...] = tuple(f"class{i}" for i in range(80))
    mean: tuple[float, ...] = (127.5,)
    std: tuple[float, ...] = (64.0,)
    aspect: float = 4 / 3
    splits: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Sample:
    built: Built
    reason: str
    params_m: float = 0.0
    gflops: float = 0.0
    stride: int = 0


def check_space(
    space: SearchSpace,
    info: DataInfo | None,
    samples: int = 200,
    seed: int = 0,
    boxes: TrainingBoxes | None = None,
) -> dict[str, Any]:
    """Sample candidates and describe them.

    Args:
        space: a detector space.
        info: the data set; None: three channels, 80 classes, 4:3, and no estimate of the time.
        samples: random candidates, after the space's own `points`.
        seed: of the samples.
        boxes: of the training split; None: nothing is said about boxes that are too narrow to be learnt.

    Returns:
        Plain JSON values: space, data, samples, params_m and gflops (quantiles and histogram of the feasible ones),
        infeasible (share and reasons), rules (all, with how often each acted), too_narrow (share of the training boxes
        that no level of a candidate can learn: least, median, most, and input and stride of these two), time (estimate
        and its assumptions).
    """
    check_latency_backend(space.latency)
    data = info if info is not None else AssumedData()
    workers = workers_of_a_trial(space.resources)
    rng = random.Random(seed)
    given = [*space.points, *({} for _ in range(samples))]
    drawn = [_draw(space, build_specs(space, space.sample(rng, g), data, workers), workers) for g in given]
    feasible = [s for s in drawn if not s.reason]
    return {
        "space": space.name,
        "data": getattr(info, "source", None) or "assumed: 3 channels, 80 classes, 4:3",
        "train_images": data.splits.get("train"),
        "parameters": len(space.parameters),
        "objectives": [dataclasses.asdict(o) for o in space.objectives],
        "constraints": [str(c) for c in space.constraints],
        "workers": workers,
        "samples": len(drawn),
        "params_m": _distribution([s.params_m for s in feasible]),
        "gflops": _distribution([s.gflops for s in feasible]),
        "infeasible": _infeasible(drawn),
        "rules": _rules(space, drawn),
        "too_narrow": _too_narrow(feasible, boxes),
        "time": _time(space, data, feasible),
    }


def _draw(space: SearchSpace, built: Built, workers: int) -> _Sample:
    if built.infeasible:
        return _Sample(built, built.infeasible)
    spec, recipe = built.candidate
    if reason := not_split(recipe, workers):
        return _Sample(built, reason)
    try:
        costs = count_costs(spec)
    except InputError as error:
        raise InputError(error.what, where=space.name, remedy=error.remedy) from None
    values = {"params_m": costs.params_m, "gflops": costs.gflops}
    broken = [str(c) for c in space.constraints if c.name in values and not c.holds(values)]
    return _Sample(built, " and ".join(broken), costs.params_m, costs.gflops, costs.stride)


def _distribution(values: Sequence[float]) -> dict[str, Any] | None:
    """Quantiles, and ten logarithmic bins from the smallest to the largest value."""
    if not values:
        return None
    ordered = sorted(values)
    quantiles = {f"{q:g}": ordered[round(q * (len(ordered) - 1))] for q in QUANTILES}
    low, high = ordered[0], ordered[-1]
    bins = 10 if high > low else 1
    edges = [low * (high / low) ** (i / bins) for i in range(bins + 1)]
    counts = [0] * bins
    for value in ordered:
        index = sum(value >= edge for edge in edges[1:-1])
        counts[index] += 1
    return {"quantiles": quantiles, "edges": edges, "counts": counts}


def _too_narrow(feasible: Sequence[_Sample], boxes: TrainingBoxes | None) -> dict[str, Any] | None:
    """Shares of boxes that candidates cannot learn, over the feasible ones."""
    if boxes is None or not feasible:
        return None
    shares = []
    for sample in feasible:
        canvas = sample.built.candidate[0].input
        share = boxes.share_too_narrow(canvas.height, canvas.width, sample.stride)
        shares.append((share, f"{canvas.height}x{canvas.width} px, stride {sample.stride}"))
    (least, best), (most, worst) = min(shares), max(shares)
    median = statistics.median(share for share, _ in shares)
    return {"least": least, "least_at": best, "median": median, "most": most, "most_at": worst}


def _infeasible(drawn: Sequence[_Sample]) -> dict[str, Any]:
    reasons = collections.Counter(s.reason for s in drawn if s.reason)
    return {"share": sum(reasons.values()) / len(drawn), "reasons": dict(reasons.most_common())}


def _rules(space: SearchSpace, drawn: Sequence[_Sample]) -> list[dict[str, Any]]:
    acted = collections.Counter(a.rule for s in drawn for a in s.built.applied)
    examples = {a.rule: a.detail for s in reversed(drawn) for a in s.built.applied}
    return [
        {
            "name": rule.name,
            "effect": rule.effect,
            "on": rule.name not in space.rules.off,
            "acted": acted[rule.name],
            "share": acted[rule.name] / len(drawn),
            "example": examples.get(rule.name, ""),
            "why": rule.why,
            "source": rule.source,
        }
        for rule in RULES.values()
    ]


def epochs_per_trial(space: SearchSpace) -> float:
    """Mean epochs (at full image size) of a trial: all reach the first rung, one of eta each further one."""
    steps = np.diff(space.work((0, *space.rungs()))).tolist()
    return float(sum(step / space.scheduler.eta**i for i, step in enumerate(steps)))


def _time(space: SearchSpace, data: DataInfo, feasible: Sequence[_Sample]) -> dict[str, Any]:
    """Estimated seconds, or why there is no estimate."""
    limit, trials, images = space.budget.time_limit, space.budget.trials, data.splits.get("train")
    epochs = epochs_per_trial(space)
    result: dict[str, Any] = {"time_limit": limit, "trials": trials, "epochs_per_trial": epochs, "seconds": None}
    why = _no_estimate(space, images, feasible)
    if why or images is None:
        return {**result, "assumption": f"no estimate: {why}"}
    plan = resolve(space.resources, [this_machine()])
    median = sorted(feasible, key=lambda s: s.gflops)[len(feasible) // 2]
    with torch_threads(plan.threads):
        rate = images_per_second(median.built.candidate[0], median.gflops, plan.device)
    rate *= median.gflops / statistics.fmean(s.gflops for s in feasible)
    per_trial = epochs * images / (rate * plan.workers) + TRIAL_SECONDS
    needed = START_SECONDS + per_trial * math.ceil(trials / plan.concurrent) if trials else None
    return {
        **result,
        "images_per_second": rate,
        "seconds_per_trial": per_trial,
        "seconds": min(s for s in (needed, limit) if s is not None) if needed or limit else None,
        "trials_in_time": int((limit - START_SECONDS) / per_trial * plan.concurrent) if limit else None,
        "assumption": (
            f"on this machine, at its present load, {plan.describe()}; {rate:.0f} images/s of a worker from forward "
            f"and backward passes of the median candidate, scaled by multiply-adds; {epochs:.1f} epochs per trial "
            f"under {space.scheduler.kind}, promotions of left-over time not counted; {TRIAL_SECONDS:g} s per trial "
            f"and {START_SECONDS:g} s start beside it"
        ),
    }


def _no_estimate(space: SearchSpace, images: int | None, feasible: Sequence[_Sample]) -> str:
    if images is None:
        return "the number of training images is unknown, give --data"
    if not feasible:
        return "no sampled candidate is feasible"
    if space.resources.device == "cuda" and not torch.cuda.is_available():
        return "the space asks for cuda and this machine has none"
    return ""


def images_per_second(
    spec: DetectorSpec, gflops: float, device: str, *, typical: Callable[[list[float]], float] = min
) -> float:
    """Training speed of a network: forward and backward on random images; the canvas shrinks if one is too costly.

    Args:
        spec: the network.
        gflops: its 1e9 multiply-adds per image.
        device: cpu or cuda.
        typical: of the seconds of a few passes: the least is what the machine can, the median what it does now.
    """
    budget = _TIMED_GFLOPS * (50 if device == "cuda" else 1)
    shrink = min(1.0, (budget / gflops) ** 0.5)
    sides = {k: max(64, round(getattr(spec.input, k) * shrink / 32) * 32) for k in ("height", "width")}
    small = spec.model_copy(update={"input": InputSpec(**{**spec.input.to_json(), **sides})})
    share = sides["height"] * sides["width"] / (spec.input.height * spec.input.width)
    batch = max(1, min(16, int(budget / (gflops * share))))
    with torch.device(device):
        detector = build_detector(small).train()
        images = torch.full((batch, small.input.channels, sides["height"], sides["width"]), 100.0)
        box = torch.tensor([0.25, 0.25, 0.75, 0.75]) * min(sides.values())
        targets = Targets(box.expand(batch, 1, 4), torch.zeros(batch, 1, dtype=torch.long))
    return float(share) * batch / typical(_passes(detector, images, targets, device))


def _passes(
    detector: torch.nn.Module, images: torch.Tensor, targets: Targets, device: str, *, repeats: int = 6
) -> list[float]:
    """Seconds of some forward and backward passes, after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16):
            losses = detector(images, targets)
        losses["loss"].backward()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return times[1:]
