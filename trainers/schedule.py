"""Learning rate over a training. One decision: the schedule is laid over the trial's full length, so a trial paused at
a rung and promoted later trains exactly as one that was never paused."""

from __future__ import annotations

import math

from nasdet.space.specs import Recipe

REFERENCE_BATCH = 16
DECAY_SHARE = 0.2
"""Last part of a "wsd" schedule in which the learning rate decays."""


def scaled_lr(recipe: Recipe) -> float:
    """Peak learning rate: linear in the batch for sgd (Goyal et al.; MegDet), square root for the others (You et
    al., LAMB)."""
    ratio = recipe.batch_size / REFERENCE_BATCH
    return recipe.base_lr * (ratio if recipe.optimizer == "sgd" else math.sqrt(ratio))


def lr_factor(recipe: Recipe, epoch: float) -> float:
    """Factor in 0..1 on the peak learning rate after `epoch` (fractional) of `recipe.epochs` epochs."""
    warmup = min(recipe.warmup, recipe.epochs / 2)
    if epoch < warmup:
        return max(epoch / warmup, 1e-3)
    return _AFTER_WARMUP[recipe.schedule](recipe, epoch, warmup)


def _wsd(recipe: Recipe, epoch: float, warmup: float) -> float:
    start = max((1 - DECAY_SHARE) * recipe.epochs, warmup)
    if epoch <= start:
        return 1.0
    left = max(0.0, (recipe.epochs - epoch) / (recipe.epochs - start))
    return recipe.floor + (1 - recipe.floor) * left


def _cosine(recipe: Recipe, epoch: float, warmup: float) -> float:
    done = min(1.0, (epoch - warmup) / max(recipe.epochs - warmup, 1e-9))
    return recipe.floor + (1 - recipe.floor) * 0.5 * (1 + math.cos(math.pi * done))


def _multistep(recipe: Recipe, epoch: float, _warmup: float) -> float:
    return recipe.gamma ** sum(epoch >= recipe.epochs * at for at in recipe.drops)


def _step(recipe: Recipe, epoch: float, _warmup: float) -> float:
    return 0.1 ** sum(epoch >= recipe.epochs * at for at in (2 / 3, 8 / 9))


_AFTER_WARMUP = {"wsd": _wsd, "cosine": _cosine, "multistep": _multistep, "step": _step}
