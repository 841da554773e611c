from __future__ import annotations

import pytest
import torch

from nasdet.models import build_detector
from nasdet.space.specs import Recipe
from nasdet.trainers.optim import make_optimizer
from tests.trainers.conftest import tiny_spec


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_no_decay_on_norm_and_bias(name: str) -> None:
    model = build_detector(tiny_spec())
    optimizer = make_optimizer(model, Recipe(optimizer=name, weight_decay=0.1))
    decayed, free = optimizer.param_groups
    assert {p.ndim for p in free["params"]} == {1} or {p.ndim for p in free["params"]} == {0, 1}
    assert all(p.ndim > 1 for p in decayed["params"])
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(model.parameters()))


def test_frozen_parameters_are_refused() -> None:
    model = torch.nn.Linear(2, 2)
    model.weight.requires_grad_(False)
    with pytest.raises(ValueError, match="frozen parameters: weight"):
        make_optimizer(model, Recipe())
