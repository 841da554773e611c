"""The optimiser. One decision: kernels and matrices decay, norms and biases only where the recipe says so, tables of
positions never (timm's and TorchVision's recipes); and nothing is frozen (a wrong freeze cost a published training from
scratch 3 AP)."""

from __future__ import annotations

from typing import Any

import torch
from timm.optim import Lamb, Muon
from torch import nn

from nasdet.errors import TrialFailure
from nasdet.space.specs import Recipe
from nasdet.trainers.schedule import scaled_lr

BETAS = (0.9, 0.999)
"""Of AdamW, also for what muon does not train."""


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over all parameters of `model`, those that decay in one group, the others in another.

    Raises:
        TrialFailure: a parameter is frozen.
    """
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    if frozen:
        raise TrialFailure(
            f"{len(frozen)} parameters are frozen, such as {', '.join(frozen[:3])}; every one must train"
        )
    parameters = list(model.parameters())
    decaying = {n for n, p in model.named_parameters() if n.endswith("weight") and p.ndim > 1}
    if recipe.decay_norms:
        decaying |= {n for n, p in model.named_parameters() if p.ndim <= 1}
    groups: list[dict[str, Any]] = [
        {"params": [p for n, p in model.named_parameters() if (n in decaying) == decays], "weight_decay": decay}
        for decays, decay in ((True, recipe.weight_decay), (False, 0.0))
    ]
    lr = scaled_lr(recipe)
    if recipe.optimizer == "sgd":
        nesterov = recipe.nesterov and recipe.momentum > 0
        return torch.optim.SGD(groups, lr, momentum=recipe.momentum, nesterov=nesterov, foreach=True)
    if recipe.optimizer == "lamb":
        lamb: torch.optim.Optimizer = Lamb(groups, lr, max_grad_norm=None)  # the loop clips, by `clip_norm`
        return lamb
    if recipe.optimizer == "muon":
        groups[1]["use_fallback"] = True  # adamw, also for tables of positions, which are matrices by shape alone
        muon: torch.optim.Optimizer = Muon(groups, lr, momentum=recipe.momentum, nesterov=recipe.nesterov, betas=BETAS)
        return muon
    fused = all(p.is_floating_point() for p in parameters)
    return torch.optim.AdamW(groups, lr, betas=BETAS, fused=fused)
