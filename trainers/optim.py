"""The optimiser. One decision: norms, biases and every other one-dimensional parameter get no weight decay (timm's and
TorchVision's recipes), and nothing is frozen, because nothing was pre-trained."""

from __future__ import annotations

import torch
from torch import nn

from nasdet.space.specs import Recipe
from nasdet.trainers.schedule import scaled_lr


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW or SGD over all parameters of `model`, in a group with and one without weight decay.

    Raises:
        ValueError: a parameter is frozen.
    """
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    if frozen:
        raise ValueError(f"training from scratch with frozen parameters: {', '.join(frozen[:3])}")
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    lr = scaled_lr(recipe)
    if recipe.optimizer == "sgd":
        nesterov = recipe.momentum > 0
        return torch.optim.SGD(groups, lr, momentum=recipe.momentum, nesterov=nesterov, foreach=True)
    fused = all(p.is_floating_point() for p in parameters)
    return torch.optim.AdamW(groups, lr, fused=fused)
