"""Named recipes: what their sources state, and how they lie under a search space's own values."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasdet.errors import InputError
from nasdet.space import build_specs, load_recipe, load_space, parse_space, recipe_names
from nasdet.space.specs import AugmentSpec, Recipe
from nasdet.trainers.schedule import lr_factor, scaled_lr
from tests.space.conftest import Info

VOC, COCO, IMAGENET = 16_551, 118_287, 1_281_167
PUBLISHED: dict[str, tuple[float, int, float, int]] = {
    # learning rate, images per step, iterations or epochs, images
    "dsod": (0.1, 128, 100_000, VOC),
    "scratchdet": (0.05, 128, 100_000, VOC),
    "rethinking_1x": (0.02, 16, 90_000, COCO),
    "rethinking_2x": (0.02, 16, 180_000, COCO),
    "rethinking_3x": (0.02, 16, 270_000, COCO),
    "rethinking_6x": (0.02, 16, 540_000, COCO),
    "rethinking_9x": (0.08, 64, 202_500, COCO),
    "megdet": (0.02 * 16, 256, 90_000 / 16, COCO),
    "lsj_100": (0.1, 64, 184_375, COCO),
    "lsj_200": (0.1, 64, 368_750, COCO),
    "lsj_400": (0.1, 64, 737_500, COCO),
    "vit_scratch": (1.6e-4, 64, 737_500, COCO),
    "rsb_adamw": (2e-4, 16, 90_000, COCO),
    "torchvision_new": (0.5, 1024, 600 * IMAGENET / 1024, IMAGENET),
}
DROPS: dict[str, tuple[float, ...]] = {
    "dsod": (20_000, 40_000, 60_000, 80_000),
    "scratchdet": (40_000, 75_000, 90_000),
    "rethinking_1x": (60_000, 80_000),
    "rethinking_2x": (120_000, 160_000),
    "rethinking_3x": (210_000, 250_000),
    "rethinking_6x": (480_000, 520_000),
    "rethinking_9x": (187_500, 197_500),
    "lsj_100": (163_889, 177_546),
}


def test_every_recipe_has_its_published_figures_here() -> None:
    assert sorted(PUBLISHED) == recipe_names()


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_batch_rule_gives_the_published_rate(name: str) -> None:
    lr, batch, _, _ = PUBLISHED[name]
    recipe = load_recipe(name).recipe
    assert scaled_lr(recipe.model_copy(update={"batch_size": batch})) == pytest.approx(lr, rel=1e-9)
    if name != "torchvision_new":  # whose batch is stated to be ours
        assert recipe.batch_size == batch


@pytest.mark.parametrize("name", PUBLISHED)
def test_iterations_became_epochs(name: str) -> None:
    _, batch, iterations, images = PUBLISHED[name]
    assert load_recipe(name).epochs == pytest.approx(iterations * batch / images, abs=0.6, rel=0.003)


@pytest.mark.parametrize("name", DROPS)
def test_the_rate_drops_where_the_source_drops_it(name: str) -> None:
    recipe, iterations = load_recipe(name).recipe, PUBLISHED[name][2]
    for number, drop in enumerate(DROPS[name]):
        before, after = ((drop + d * iterations) / iterations * recipe.epochs for d in (-1e-4, 1e-4))
        assert lr_factor(recipe, before) == pytest.approx(0.1**number)
        assert lr_factor(recipe, after) == pytest.approx(0.1 ** (number + 1))


@pytest.mark.parametrize("name", PUBLISHED)
def test_states_source_initialisation_and_result(name: str) -> None:
    named = load_recipe(name)
    assert named.source and named.published
    assert named.init.split(" ")[0] in ("random", "supervised")
    file = Path(__file__).parents[2] / "trainers" / "recipes" / f"{name}.yaml"
    head = list(itertools.takewhile(lambda line: line.startswith("#"), file.read_text().splitlines()))
    assert any(word in " ".join(head) for word in ("images", "iterations"))


def test_large_scale_jitter_is_exact() -> None:
    augment = load_recipe("lsj_400").recipe.augment
    assert (augment.scale, augment.colour, augment.mosaic, augment.mixup) == ((0.1, 2.0), 0.0, 0.0, 0.0)


def test_a_file_extends_a_recipe(write: Callable[..., Path]) -> None:
    write("extends: lsj_100\nrecipe: {batch_size: 16, augment: {colour: 0.3}}\n", "base.yaml")
    named = load_recipe(write("extends: base.yaml\nrecipe: {epochs: 9}\n"))
    lsj = load_recipe("lsj_100").recipe
    augment = lsj.augment.model_copy(update={"colour": 0.3})
    assert named.recipe == lsj.model_copy(update={"batch_size": 16, "epochs": 9, "augment": augment})
    assert named.init == "random"


def test_the_recipe_of_a_bundle_can_be_loaded(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(Recipe(epochs=7).model_dump_json())
    assert load_recipe(path).recipe == Recipe(epochs=7)
    path.write_text('{"epochz": 7}')
    with pytest.raises(InputError, match=r"recipe.json:1: recipe.epochz: unknown key; did you mean 'epochs'\?"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: dsd\n", r"my.yaml:1: extends: no recipe 'dsd'; did you mean 'dsod', or give a YAML file"),
        (f"extends: {'x' * 300}\n", r"my.yaml:1: extends: no recipe 'xxx"),
        ("extends: my.yaml\n", "the files extend each other: my.yaml -> my.yaml"),
        ("recipe:\n  drops: [0.5, 0.4]\n", "my.yaml:2: recipe.drops: drops must be rising shares"),
        ("receipt: {}\n", r"my.yaml:1: receipt: unknown key; did you mean 'recipe'\?"),
        ("recipe: {augment: {scale: [2, 1]}}\n", r"recipe.augment.scale: scale must be \[low, high\]"),
    ],
)
def test_errors_name_file_line_and_key(write: Callable[..., Path], text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe(write(text))


def built(recipe: dict[str, Any], info: Info) -> Recipe:
    space = parse_space(
        {
            "space": {"recipe.base_lr": {"kind": "choice", "values": [0.3]}},
            "fixed": {"recipe": recipe},
            "objectives": [{"name": "ap"}],
            "budget": {"epochs": 5},
        }
    )
    return build_specs(space, {"recipe.base_lr": 0.3}, info).candidate[1]


def test_fixed_and_searched_values_win_over_a_preset(info: Info) -> None:
    recipe = built({"preset": "lsj_100", "weight_decay": 0.5, "augment": {"hflip": False}}, info)
    lsj = load_recipe("lsj_100").recipe
    augment = lsj.augment.model_copy(update={"hflip": False})
    changes = {"base_lr": 0.3, "weight_decay": 0.5, "augment": augment, "epochs": 5}
    assert recipe == lsj.model_copy(update=changes)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_recipe_is_a_preset(name: str, info: Info) -> None:
    named = load_recipe(name).recipe
    assert built({"preset": name}, info) == named.model_copy(update={"base_lr": 0.3, "epochs": 5})


def test_a_space_with_a_preset_survives_its_own_text(write: Callable[..., Path], minimal: str) -> None:
    space = load_space(write(minimal + "fixed: {recipe: {preset: dsod}}\n"))
    assert space.fixed["recipe"]["decay_norms"] is True and "preset" not in space.fixed["recipe"]
    assert load_space(write(space.to_yaml(), "again.yaml")).fixed == space.fixed
    other = load_space(write(minimal), overrides=["fixed.recipe.preset=dsod"])
    assert other.fixed == space.fixed


def test_an_unknown_preset_is_an_error_with_its_line(write: Callable[..., Path], minimal: str) -> None:
    path = write(minimal + "fixed:\n  recipe: {preset: lsj_10}\n")
    line = len(minimal.splitlines()) + 2
    with pytest.raises(
        InputError, match=rf"my.yaml:{line}: fixed.recipe.preset: unknown recipe 'lsj_10'; did you mean"
    ):
        load_space(path)


def test_defaults_are_not_stated() -> None:
    assert load_recipe("vit_scratch").stated["floor"] == 0.0
    assert "gamma" not in load_recipe("vit_scratch").stated
    assert load_recipe("vit_scratch").recipe.augment.mosaic == AugmentSpec().mosaic
