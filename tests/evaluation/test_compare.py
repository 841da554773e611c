from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks.eval_speed import scene
from nasdet.evaluation import Predictions, coco_metrics, resample
from nasdet.evaluation.compare import Measured, chance_better, is_known, seed_spread

NONE = np.zeros(0)


def evaluated(seed: int, lost: float) -> Measured:
    """Detections of one scene of which a share is lost at random."""
    truth, found = scene(1, images=60)
    kept = np.random.default_rng(seed).random(len(found.scores)) >= lost
    found = Predictions(*(c[kept] for c in (found.image_ids, found.boxes, found.scores, found.labels)))
    return Measured(coco_metrics(truth, found)["ap"], resample(truth, found)["ap"])


def test_the_same_images_tell_more_than_two_intervals() -> None:
    whole, part = evaluated(0, 0.0), evaluated(0, 0.15)
    low, high = np.quantile(whole.resamples, 0.05), np.quantile(part.resamples, 0.95)
    assert low < high  # the intervals overlap
    chance = chance_better(whole, part)
    assert chance is not None and is_known(chance)
    assert chance_better(part, whole) == pytest.approx(1 - chance)


def test_two_of_a_kind_are_not_told_apart() -> None:
    assert not is_known(chance_better(evaluated(1, 0.1), evaluated(6, 0.1)))
    same = evaluated(0, 0.0)
    assert chance_better(same, same) == 0.5


def test_seeds_add_their_own_doubt() -> None:
    a, b = Measured(0.60, NONE, (0.50, 0.52, 0.54)), Measured(0.40, NONE, (0.47, 0.49, 0.51))
    spread = seed_spread([a, b])
    assert spread == (pytest.approx(0.02), 4)
    chance = chance_better(a, b, spread)  # t = 0.03 / (0.02 * sqrt(2 / 3)) = 1.837 with 4 degrees of freedom
    assert chance == pytest.approx(0.930, abs=2e-3) and not is_known(chance)
    assert a.mean == pytest.approx(0.52)  # the search's own value was picked for being high
    images = np.random.default_rng(0).normal(0, 0.02, 200)
    less = chance_better(dataclasses.replace(a, resamples=images), dataclasses.replace(b, resamples=-images), spread)
    assert less is not None and 0.5 < less < chance


def test_nothing_known_is_said() -> None:
    assert chance_better(Measured(0.5, NONE), Measured(0.4, NONE)) is None
    assert not is_known(None)


def test_a_chance_is_known_in_either_direction() -> None:
    assert [is_known(chance) for chance in (0.03, 0.5, 0.97)] == [True, False, True]
