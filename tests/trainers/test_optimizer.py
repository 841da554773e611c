from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.optim import Lamb, Muon

from nasdet.errors import TrialFailure
from nasdet.models import Targets, build_detector
from nasdet.space import load_recipe, recipe_names
from nasdet.space.specs import Recipe
from nasdet.space.timm_backbones import VitSpec
from nasdet.trainers.optimizer import make_optimizer
from nasdet.trainers.schedule import lr_factor, scaled_lr
from tests.trainers.conftest import tiny_spec


@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb", "muon"])
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
    with pytest.raises(TrialFailure, match="1 parameters are frozen, such as weight; every one must train"):
        make_optimizer(model, Recipe())


@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb", "muon"])
def test_norms_decay_where_the_recipe_says_so(name: str) -> None:
    model = build_detector(tiny_spec())
    decayed, free = make_optimizer(model, Recipe(optimizer=name, decay_norms=True)).param_groups
    assert decayed["weight_decay"] == Recipe().weight_decay
    assert len(decayed["params"]) == len(list(model.parameters())) and not free["params"]


@pytest.mark.parametrize("decay_norms", [True, False])
def test_tables_of_positions_never_decay(decay_norms: bool) -> None:
    spec = tiny_spec().model_copy(
        update={"backbone": VitSpec(embed_dim=24, depth=2, heads=3, patch=8, position="both")}
    )
    model = build_detector(spec)
    free = make_optimizer(model, Recipe(decay_norms=decay_norms)).param_groups[1]["params"]
    names = {name for name, p in model.named_parameters() if any(p is other for other in free) and p.ndim > 1}
    assert {name.rpartition(".")[2] for name in names} == {"pos_embed", "table"}


@pytest.mark.parametrize(
    ("changes", "expected"), [({}, True), ({"nesterov": False}, False), ({"momentum": 0.0}, False)]
)
def test_momentum_is_nesterov_unless_plain(changes: dict[str, Any], expected: bool) -> None:
    optimizer = make_optimizer(torch.nn.Linear(2, 2), Recipe(optimizer="sgd", **changes))
    assert optimizer.defaults["nesterov"] is expected


def test_muon_orthogonalises_kernels_and_leaves_the_rest_to_adamw() -> None:
    layers = (torch.nn.Conv2d(8, 16, 3), torch.nn.Conv2d(8, 8, 3, groups=8), torch.nn.BatchNorm2d(8))
    model = torch.nn.ModuleDict(zip(("conv", "depthwise", "norm"), layers, strict=True))
    recipe = Recipe(optimizer="muon", base_lr=1e-3, batch_size=16, weight_decay=0.0)
    optimizer = make_optimizer(model, recipe)
    assert isinstance(optimizer, Muon)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.randn(p.shape)
    optimizer.step()
    moved = {name: p.detach() - before[name] for name, p in model.named_parameters()}
    step = moved["conv.weight"].flatten(1)
    values = torch.linalg.svdvals(step) / (0.2 * 72**0.5 * recipe.base_lr)  # rows 16, columns 8 * 9 = 72
    assert values.min() > 0.5 and values.max() < 1.5  # all directions alike, as Newton-Schulz leaves them
    for name in (
        "depthwise.weight",
        "conv.bias",
        "norm.weight",
    ):  # adam's first step: the sign of the gradient
        sizes = moved[name].abs()
        assert sizes.min() == pytest.approx(float(sizes.max()), rel=0.01) and sizes.min() > 0, name


def test_muon_leaves_tables_of_positions_to_adamw() -> None:
    spec = tiny_spec().model_copy(
        update={"backbone": VitSpec(embed_dim=24, depth=2, heads=3, patch=8, position="both")}
    )
    model = build_detector(spec)
    optimizer = make_optimizer(model, Recipe(optimizer="muon"))
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    tables = [p for name, p in model.named_parameters() if name.rpartition(".")[2] in ("pos_embed", "table")]
    assert tables and not any(optimizer.state[p]["use_muon"] for p in tables)


def test_lamb_takes_the_peak_rate_and_leaves_clipping_to_the_loop() -> None:
    recipe = Recipe(optimizer="lamb", base_lr=1e-3, batch_size=64)
    model = torch.nn.Linear(3, 3)
    optimizer = make_optimizer(model, recipe)
    assert isinstance(optimizer, Lamb)
    assert [group["lr"] for group in optimizer.param_groups] == [scaled_lr(recipe)] * 2
    for scale in (1.0, 1e6):  # trust ratios: the step does not depend on the size of the gradient
        before = model.weight.detach().clone()
        model.weight.grad = torch.full_like(model.weight, scale)
        model.bias.grad = torch.zeros_like(model.bias)
        optimizer.step()
        moved = (model.weight.detach() - before).norm().item()
        assert moved == pytest.approx(scaled_lr(recipe) * float(before.norm()), rel=0.2)
    assert optimizer.defaults["max_grad_norm"] is None


@pytest.mark.parametrize("name", recipe_names())
def test_every_named_recipe_steps(name: str) -> None:
    """Its optimiser and schedule exist and move the weights by a finite amount."""
    recipe = load_recipe(name).recipe
    model = build_detector(tiny_spec())
    optimizer = make_optimizer(model, recipe)
    before = [p.detach().clone() for p in model.parameters()]
    for epoch in (0.0, 0.5 * recipe.epochs, recipe.epochs - 1e-6):
        for group in optimizer.param_groups:
            group["lr"] = scaled_lr(recipe) * lr_factor(recipe, epoch)
        model(torch.rand(2, 1, 64, 64), no_objects(2))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert any(not torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def no_objects(batch: int) -> Targets:
    return Targets(torch.zeros(batch, 1, 4), torch.full((batch, 1), -1))
