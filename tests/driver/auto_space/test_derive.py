"""A space that follows from figures of the data, the machine and the time."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasdet.data import open_data
from nasdet.driver.auto_space.annotated_yaml import annotated_yaml
from nasdet.driver.auto_space.auto import auto_space, tiles_for
from nasdet.driver.auto_space.data_facts import DataFacts
from nasdet.driver.auto_space.derive import CELLS, LEAST_INPUT, WIDTHS, Derived, Time, derive, size_for
from nasdet.driver.auto_space.start_space import is_auto
from nasdet.models import count_costs
from nasdet.space import SearchSpace, build_specs, load_space, parse_space
from nasdet.space.tiling import Tiling
from tests.scenes import write_scenes

CELLS_OF_BLOOD = DataFacts("blood", 200, 640, 0.126, 0.2, 13.7, None, False, ())
VEHICLES = dataclasses.replace(CELLS_OF_BLOOD, source="drone", small=0.018, large=0.1, rare=("bus", "lorry"))
DIGITS = DataFacts("digits", 600, 96, 0.19, 0.4, 2.5, None, True, ())
HOUR = Time(search=3600, groups=2, rate=15.0)


def cost(size: int, stride: int, width: int) -> float:
    """Like that of the start point: grows with the area and the width, half as much again at stride 4."""
    return (size / 256) ** 2 * (width / 32) ** 1.5 * 0.45 * (1.5 if stride == 4 else 1.0)


def first_point(derived: Derived) -> dict[str, Any]:
    point: dict[str, Any] = derived.raw["points"][0]
    return point


@pytest.mark.parametrize("facts", [CELLS_OF_BLOOD, VEHICLES, DIGITS])
@pytest.mark.parametrize("time", [HOUR, Time(200, 1, 5.0), Time(20_000, 8, 500.0, training=40_000)])
def test_it_is_a_space_whose_start_point_may_be_trained(facts: DataFacts, time: Time, info: Any) -> None:
    derived = derive(facts, time, cost)
    space = parse_space(derived.raw)
    rng = random.Random(0)
    for point in space.points:
        assert not build_specs(space, space.sample(rng, point), info).infeasible
    point = first_point(derived)
    stride = point.get("neck.min_stride", space.fixed.get("neck", {}).get("min_stride"))
    assert space.constraints[0].holds({"gflops": cost(point["input.size"], stride, point["backbone.width"])})
    assert set(space.points[0]) | {"backbone.stages.3.stride"} >= set(space.parameters)
    assert space.budget.time_limit == time.search
    assert set(derived.reasons) and all(
        reason[0].islower() or reason[0].isdigit() for reason in derived.reasons.values()
    )


def test_small_objects_get_a_fine_level_and_a_large_input() -> None:
    large, small = derive(CELLS_OF_BLOOD, HOUR, cost), derive(VEHICLES, HOUR, cost)
    assert first_point(large)["input.size"] == LEAST_INPUT
    assert large.raw["fixed"]["neck"] == {"min_stride": 8} and "neck.min_stride" not in first_point(large)
    assert first_point(small)["neck.min_stride"] == 4 and first_point(small)["input.size"] > LEAST_INPUT
    assert small.raw["space"]["neck.min_stride"]["values"] == [4, 8]
    assert "bus, lorry" in small.reasons["data"] and "fewer" not in large.reasons["data"]


def test_the_size_shows_small_objects_at_the_cells_that_are_asked_for() -> None:
    for side, stride in ((0.018, 4), (0.126, 8), (0.3, 8)):
        assert side * size_for(side, stride) >= CELLS * stride > side * (size_for(side, stride) - 32)


def test_where_the_time_is_short_it_is_smaller_and_says_so() -> None:
    short = dataclasses.replace(HOUR, search=120)
    long, hurried = (derive(VEHICLES, time, cost) for time in (HOUR, short))
    assert cost(first_point(hurried)["input.size"], 4, first_point(hurried)["backbone.width"]) < cost(
        first_point(long)["input.size"], 4, first_point(long)["backbone.width"]
    )
    assert "too short" in hurried.reasons["space.input.size"]


def test_the_training_of_the_winner_bounds_the_size_too() -> None:
    alone, followed = (derive(VEHICLES, dataclasses.replace(HOUR, training=t), cost) for t in (None, 700.0))
    assert "trials" not in followed.raw["budget"]
    assert first_point(followed)["input.size"] * first_point(followed)["backbone.width"] < (
        first_point(alone)["input.size"] * first_point(alone)["backbone.width"]
    )


def test_where_candidates_could_not_be_told_apart_nothing_is_searched() -> None:
    derived = derive(VEHICLES, Time(search=200, groups=1, rate=15.0, training=400), cost)
    assert derived.raw["budget"]["trials"] == 1 and parse_space(derived.raw).rungs() == (1,)
    assert "no search" in derived.summary.lower()
    longer = derive(VEHICLES, Time(search=0, groups=1, rate=15.0, training=600), cost)
    keys = ("input.size", "backbone.width", "recipe.batch_size")
    assert {k: first_point(derived)[k] for k in keys} == {k: first_point(longer)[k] for k in keys}


def test_a_slow_machine_gets_the_smallest_start() -> None:
    point = first_point(derive(VEHICLES, Time(30, 1, 0.1), cost))
    assert point["backbone.width"] == WIDTHS[0] and point["input.size"] == 96


def test_letters_and_digits_are_not_flipped() -> None:
    digits, others = derive(DIGITS, HOUR, cost), derive(CELLS_OF_BLOOD, HOUR, cost)
    assert digits.raw["fixed"]["recipe"]["augment"] == {"hflip": False}
    assert "recipe.augment.vflip" not in digits.raw["space"] and "recipe.augment.vflip" not in first_point(digits)
    assert others.raw["fixed"]["recipe"]["augment"] == {"hflip": True} and first_point(others)["recipe.augment.vflip"]


def test_few_images_get_small_batches() -> None:
    few, many = (derive(dataclasses.replace(CELLS_OF_BLOOD, train=n), HOUR, cost) for n in (50, 20_000))
    assert first_point(few)["recipe.batch_size"] == 4 and first_point(many)["recipe.batch_size"] == 32


def test_the_file_gives_the_same_space_with_its_reasons(tmp_path: Path) -> None:
    derived = derive(VEHICLES, HOUR, cost)
    file = tmp_path / "auto.yaml"
    file.write_text(annotated_yaml(derived))
    assert load_space(file) == parse_space(derived.raw)
    lines = file.read_text().splitlines()
    for path, reason in derived.reasons.items():
        key = path.rpartition("space.")[2] if path.startswith("space.") else path.rpartition(".")[2]
        where = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{key}:"))
        assert lines[where - 1].strip().startswith("# ") and reason.split()[0] in " ".join(lines[where - 4 : where])
    assert max(map(len, lines)) <= 120


def test_figures_of_the_digits() -> None:
    data = open_data("digits")
    facts = DataFacts.of(data)
    assert (facts.train, facts.long_side, facts.characters) == (600, 96, True)
    boxes = np.concatenate([record.boxes for record in data.images("train")])
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])) / 96
    assert (sides < facts.small - 1e-6).mean() <= 0.1 <= (sides <= facts.small).mean() + 1e-3
    assert facts.boxes == pytest.approx(len(boxes) / 600) and facts.rare == ()


def test_scenes_whose_objects_no_input_shows_are_cut_into_tiles(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path / "scenes", open_data("digits"), side=36, scenes={"train": 1, "val": 1})
    whole = open_data(scenes)
    derived = auto_space(whole, time_limit=600)
    assert derived.raw["data"]["tile"] == {"size": 512, "overlap": 128}
    assert "tiles of 512 px" in derived.reasons["data"] and "in tiles of 512 px" in derived.reasons["space.input.size"]
    assert load_space_text(tmp_path / "auto.yaml", annotated_yaml(derived)).data.tile == Tiling(512, 128)
    cut = whole.tiled(Tiling(512))
    assert cut.tiles_per_image(256, 256) == 81 and whole.tiles_per_image(256, 256) == 1  # 9 x 9 at steps of 384
    assert tiles_for(cut) is None and tiles_for(open_data("digits")) is None


def load_space_text(file: Path, text: str) -> SearchSpace:
    file.write_text(text)
    return load_space(file)


def test_the_digits_on_this_machine() -> None:
    data = open_data("digits")
    derived = auto_space(data, time_limit=600)
    space = parse_space(derived.raw)
    point = first_point(derived)
    spec, _ = build_specs(space, space.sample(random.Random(0), space.points[0]), data.info).candidate
    assert point["input.size"] == 96 == spec.input.height
    assert space.constraints[0].bound == pytest.approx(2 * count_costs(spec).gflops, rel=0.01)


def test_what_stands_for_a_derived_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_auto(None) and is_auto("auto")
    assert not is_auto("quick") and not is_auto({"space": {}})
    Path("auto").write_text("space: {}")
    assert not is_auto("auto")
