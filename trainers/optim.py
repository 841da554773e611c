"""The optimiser. One decision: norms, biases and every other one-dimensional parameter get no weight decay (timm's and
TorchVision's recipes) unless the recipe says otherwise, and nothing is frozen (a wrong freeze cost a published training
from scratch 3 AP)."""

from __future__ import annotations

from typing import Any

import torch
from timm.optim import Lamb
from torch import nn

from nasdet.errors import TrialFailure
from nasdet.space.specs import Recipe
from nasdet.trainers.schedule import scaled_lr


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over all parameters of `model`: matrices and kernels in one group, norms and biases in
    another.

    Raises:
        TrialFailure: a parameter is frozen.
    """
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    if frozen:
        raise TrialFailure(
            f"{len(frozen)} parameters are frozen, such as {', '.join(frozen[:3])}; every one must train"
        )
    parameters = list(model.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {
            "params": [p for p in parameters if p.ndim <= 1],
            "weight_decay": recipe.weight_decay if recipe.decay_norms else 0.0,
        },
    ]
    lr = scaled_lr(recipe)
    if recipe.optimizer == "sgd":
        nesterov = recipe.nesterov and recipe.momentum > 0
        return torch.optim.SGD(groups, lr, momentum=recipe.momentum, nesterov=nesterov, foreach=True)
    if recipe.optimizer == "lamb":
        lamb: torch.optim.Optimizer = Lamb(groups, lr, max_grad_norm=None)  # the loop clips, by `clip_norm`
        return lamb
    fused = all(p.is_floating_point() for p in parameters)
    return torch.optim.AdamW(groups, lr, fused=fused)
