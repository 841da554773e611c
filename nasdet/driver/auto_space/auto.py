"""Looks at the data set, measures the machine, and derives the space."""

from __future__ import annotations

import functools
import math
import random

from nasdet.data import Dataset, default_cache_root, open_data
from nasdet.driver.auto_space.data_facts import DataFacts
from nasdet.driver.auto_space.derive import FINE, MOST_INPUT, Derived, Time, derive, size_for
from nasdet.driver.auto_space.start_space import Start, space_around
from nasdet.driver.check import images_per_second
from nasdet.driver.planner import resolve
from nasdet.driver.resources import this_machine
from nasdet.driver.study.options import DEFAULT_SECONDS, split_time
from nasdet.models import count_costs
from nasdet.space import build_specs, parse_space
from nasdet.space.schema import Resources
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.space.tiling import Tiling
from nasdet.torch_settings import torch_threads

LEAST_TILE = 512
"""Pixels of the smallest tile."""
OVERLAPS = 4
"""A tile's side in those of what it shares with its neighbour."""
_STEP = 0.8
"""Share of a training's time that is forward and backward passes; the rest is data, optimiser and evaluation."""


def space_for(source: str, *, seconds: float | None, train: bool, resources: Resources | None = None) -> Derived:
    """The space for the data at `source`, for a search of so many seconds, or, if what it finds is to be trained, for
    both in that time; None: an hour."""
    whole = seconds or DEFAULT_SECONDS
    search, training = split_time(whole) if train else (whole, None)
    dataset = open_data(source, cache_root=default_cache_root())
    return auto_space(dataset, time_limit=search, training=training, resources=resources)


def auto_space(
    dataset: Dataset,
    *,
    time_limit: float,
    training: float | None = None,
    resources: Resources | None = None,
) -> Derived:
    """The space for a data set on this machine; measures its speed for some seconds.

    Args:
        dataset: the images.
        time_limit: seconds of the search.
        training: seconds of the training of the winner after it; None: there is none.
        resources: what a trial may use; None: as planned.

    Raises:
        InputError: the machine does not have the resources.
    """
    tile = tiles_for(dataset)
    if tile:
        dataset = dataset.tiled(tile)
    plan = resolve((resources or Resources()).model_copy(update={"workers": 1}), [this_machine()])
    data, cost = DataFacts.of(dataset), functools.cache(functools.partial(_gflops, dataset))
    probe, _ = start_candidate(dataset, Start(256, 8, 24))
    with torch_threads(plan.threads):
        images = images_per_second(probe, cost(256, 8, 24), plan.device)
    rate = _STEP * images * cost(256, 8, 24)
    return derive(data, Time(time_limit, plan.concurrent, rate, training), cost)


def tiles_for(dataset: Dataset) -> Tiling | None:
    """The tiles that images are cut into which are so large that no input shows their small objects; None: they are
    seen whole, or cut already. A tile is so large that nine tenths of the objects fit into what neighbours share."""
    data = DataFacts.of(dataset)
    if dataset.info.tiling or size_for(data.small, FINE) <= MOST_INPUT:
        return None
    size = max(LEAST_TILE, 32 * math.ceil(OVERLAPS * data.large * data.long_side / 32))
    return Tiling(size) if size < data.long_side / 2 else None


def _gflops(dataset: Dataset, size: int, stride: int, width: int) -> float:
    """1e9 multiply-adds of the start point of this input size, finest stride and width."""
    return count_costs(start_candidate(dataset, Start(size, stride, width))[0]).gflops


def start_candidate(dataset: Dataset, start: Start) -> tuple[DetectorSpec, Recipe]:
    """The network and the recipe of a start point."""
    space = parse_space(space_around(start))
    return build_specs(space, space.sample(random.Random(0), space.points[0]), dataset.info).candidate
