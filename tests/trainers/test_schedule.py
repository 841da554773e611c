from __future__ import annotations

import pytest

from nasdet.space.specs import Recipe
from nasdet.trainers.schedule import lr_factor, scaled_lr


def test_batch_rule() -> None:
    assert scaled_lr(Recipe(optimizer="sgd", base_lr=0.02, batch_size=64)) == pytest.approx(0.08)
    assert scaled_lr(Recipe(optimizer="adamw", base_lr=0.001, batch_size=64)) == pytest.approx(0.002)
    assert scaled_lr(Recipe(optimizer="lamb", base_lr=0.001, batch_size=64)) == pytest.approx(0.002)


@pytest.mark.parametrize("schedule", ["wsd", "cosine", "multistep", "step"])
def test_starts_low_peaks_and_ends_low(schedule: str) -> None:
    recipe = Recipe(schedule=schedule, epochs=20, warmup=2)
    assert lr_factor(recipe, 0) < 0.01
    assert lr_factor(recipe, 1) == pytest.approx(0.5)
    assert lr_factor(recipe, 2) == pytest.approx(1.0)
    assert lr_factor(recipe, 20) <= 0.0101


def test_default_is_constant_until_the_last_fifth() -> None:
    recipe = Recipe(epochs=20, warmup=1)
    assert {lr_factor(recipe, e) for e in (1, 4, 8, 16)} == {1.0}
    assert lr_factor(recipe, 18) == pytest.approx(0.505)


def test_a_longer_training_has_the_same_first_rungs() -> None:
    """What a trial saw up to a rung before the decay does not depend on how far it will be promoted."""
    short, long = Recipe(epochs=12), Recipe(epochs=48)
    assert [lr_factor(short, e / 4) for e in range(36)] == [lr_factor(long, e / 4) for e in range(36)]


def test_drops_at_the_given_shares() -> None:
    recipe = Recipe(schedule="multistep", epochs=100, warmup=0, drops=(0.2, 0.75), gamma=0.5)
    factors = [lr_factor(recipe, epoch) for epoch in (0, 19.9, 20, 74.9, 75, 100)]
    assert factors == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_multistep_drops_as_step_does_by_default() -> None:
    one, two = Recipe(schedule="multistep", epochs=36), Recipe(schedule="step", epochs=36)
    assert [lr_factor(one, e / 3) for e in range(108)] == [lr_factor(two, e / 3) for e in range(108)]


@pytest.mark.parametrize("schedule", ["wsd", "cosine"])
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_ends_at_the_floor(schedule: str, floor: float) -> None:
    recipe = Recipe(schedule=schedule, epochs=20, floor=floor)
    assert lr_factor(recipe, 20) == pytest.approx(floor)


@pytest.mark.parametrize("drops", [(0.5, 0.5), (0.8, 0.5), (0.0,), (0.5, 1.0)])
def test_drops_must_rise_inside_the_training(drops: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="rising shares of the training"):
        Recipe(drops=drops)
