"""The training loop: plain PyTorch, no Ray. One decision: one function trains one epoch of one `Training`, so that the
search, `nasdet train`, a profiler and torchrun all run the same lines."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nasdet.data import Batch, CachedSplit, TrainBatches, train_loader
from nasdet.errors import TrialFailure
from nasdet.models import Targets
from nasdet.models.sync_bn import set_statistics
from nasdet.space.rules import statistic_problem
from nasdet.trainers.activation_memory import set_training_memory
from nasdet.trainers.precision import autocast
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.rescale import rescaled_batch
from nasdet.trainers.schedule import lr_factor, scaled_lr
from nasdet.trainers.training_state import Training

CHECK_EVERY = {"cpu": 1, "cuda": 20}
"""Steps between checks that the loss is finite: each check waits for the device."""
LOADERS = {"cpu": 0, "cuda": 4}
"""Processes of each worker that prepare batches."""
Losses = dict[str, Tensor]


def parallel(training: Training, ranks: Ranks) -> nn.Module:
    """The detector as every worker trains it: itself alone, or in DistributedDataParallel, with the batch statistics
    that the recipe asks for, and with recomputation where it is needed."""
    if reason := statistic_problem(training.spec, training.recipe, ranks.world):
        raise TrialFailure(reason)
    images = batch_per_rank(training, ranks)
    set_statistics(training.detector, training.recipe.images_per_statistic, batch=images)
    set_training_memory(training, ranks, images)
    if ranks.world == 1:
        return training.detector
    devices = [training.device.index] if training.device.type == "cuda" else None
    return DistributedDataParallel(
        training.detector, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
    )


def batch_per_rank(training: Training, ranks: Ranks) -> int:
    """Images of one micro-batch on one worker."""
    parts = ranks.world * training.recipe.accumulate
    images, left = divmod(training.recipe.batch_size, parts)
    if left or not images:
        raise TrialFailure(
            f"batch_size {training.recipe.batch_size} cannot be split over {ranks.world} workers "
            f"x {training.recipe.accumulate} micro-batches; choose a multiple of {parts}"
        )
    return images


def train_epoch(
    training: Training,
    model: nn.Module,
    split: CachedSplit,
    ranks: Ranks,
    on_step: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Train one epoch and advance `training.epoch`.

    Args:
        training: changed in place.
        model: what `parallel` returned.
        split: the training split.
        ranks: the workers; all of them call this together.
        on_step: called with (step, steps) after each optimiser step.

    Returns:
        Means over the epoch: `loss` and its parts, `positives` and `negatives` (assigned points per image) with their
        `positive_ratio`, as MegDet reports it, `grad_norm`, `lr`; `recompute` 1 where activations are recomputed.

    Raises:
        TrialFailure: the loss is not finite, or a worker could not make its batch; on all workers.
    """
    recipe = training.recipe
    torch.manual_seed(hash((training.seed, training.epoch, ranks.rank)) & 0x7FFFFFFF)
    loader = _loader(training, split, ranks)
    steps = len(loader) // recipe.accumulate
    training.set_average_horizon(steps)
    training.detector.train()
    totals: Losses = {}
    for micro, batch in enumerate(ranks.iterate(loader)):
        step, part = divmod(micro, recipe.accumulate)
        if step == steps:
            break
        if part == 0:
            _set_lr(training, training.epoch + step / steps)
        last = part == recipe.accumulate - 1
        losses = backward(training, model, batch, synchronise=last)
        if last:
            losses["grad_norm"] = optimizer_step(training)
            if on_step is not None:
                on_step(step + 1, steps)
        for name, value in losses.items():
            totals[name] = totals[name] + value if name in totals else value.clone()
        if micro % CHECK_EVERY.get(training.device.type, 20) == 0 and not math.isfinite(losses["loss"].item()):
            ranks.add_failure(_divergence(training, step))
    ranks.raise_failures()
    training.epoch += 1
    ranks.mean_(totals.values())
    micros = steps * recipe.accumulate
    means = {name: value.item() / (steps if name == "grad_norm" else micros) for name, value in totals.items()}
    if not math.isfinite(means["loss"]):
        raise TrialFailure(_divergence(training, steps - 1))
    if "negatives" in means:
        means["positive_ratio"] = means["positives"] / max(means["negatives"], 1e-9)
    if training.recompute:
        means["recompute"] = 1.0
    return {**means, "lr": training.optimizer.param_groups[0]["lr"]}


def _loader(training: Training, split: CachedSplit, ranks: Ranks) -> TrainBatches:
    recipe, batch = training.recipe, batch_per_rank(training, ranks)
    return train_loader(
        split.share(recipe.data_share),
        augment=recipe.augment.at(training.epoch / recipe.epochs),
        batch_size=batch,
        epoch=training.epoch,
        seed=training.seed,
        rank=ranks.rank,
        world=ranks.world,
        fill=training.spec.input.mean,
        workers=LOADERS.get(training.device.type, 0),
        least=max(recipe.accumulate, len(split) // (batch * ranks.world)),
        masks=training.detector.wants_masks,
    )


def backward(training: Training, model: nn.Module, batch: Batch, *, synchronise: bool = True) -> Losses:
    """Forward and backward of one micro-batch; gradients are averaged over workers if `synchronise`."""
    device, recipe = training.device, training.recipe
    batch = rescaled_batch(batch.to(device, non_blocking=True), recipe.scale_of(training.epoch))
    lesson = None
    if training.teacher is not None:
        with autocast(recipe.precision, device):
            lesson = training.teacher.lesson(batch.images)
    targets = Targets(batch.boxes, batch.labels, batch.masks, lesson)
    hold = not synchronise and isinstance(model, DistributedDataParallel)
    with model.no_sync() if hold else nullcontext():  # type: ignore[operator]
        with autocast(recipe.precision, device):
            losses: Losses = model(batch.images, targets)
        (losses["loss"] / recipe.accumulate).backward()
    return {name: value.detach() for name, value in losses.items()}


def optimizer_step(training: Training) -> Tensor:
    """Clip, step, average the weights; returns the norm of the gradient before clipping."""
    limit = training.recipe.clip_norm or math.inf
    norm = nn.utils.clip_grad_norm_(training.detector.parameters(), limit, foreach=True)
    training.optimizer.step()
    training.optimizer.zero_grad(set_to_none=True)
    training.step += 1
    if training.average is not None:
        training.average.update(training.detector, step=training.step)
    return norm.detach()


def _set_lr(training: Training, epoch: float) -> None:
    lr = scaled_lr(training.recipe) * lr_factor(training.recipe, epoch)
    for group in training.optimizer.param_groups:
        group["lr"] = lr


def _divergence(training: Training, step: int) -> str:
    lr = training.optimizer.param_groups[0]["lr"]
    return f"the loss is not finite in epoch {training.epoch + 1}, step {step + 1} (learning rate {lr:.2g})"
