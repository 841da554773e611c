"""`check_space`: sizes, infeasible share, rules and time, without training."""

import dataclasses
import json
import random
from typing import Any

import numpy as np
import pytest
import torch

from nasdet.data.narrow_boxes import TrainingBoxes
from nasdet.driver import check
from nasdet.driver.check import AssumedData, check_space, epochs_per_trial, images_per_second
from nasdet.driver.resources import Node
from nasdet.errors import InputError
from nasdet.models import count_costs
from nasdet.space import RULES, build_specs, load_space, parse_space

DIGITS = dataclasses.replace(AssumedData(), channels=1, classes=tuple("0123456789"), splits={"train": 600, "val": 200})


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_report_of_the_digits_space():
    space = load_space("detnet", overrides=["constraints=[params_m <= 0.2]", "rules.off=[short_schedule]"])
    result = check_space(space, DIGITS, samples=20)
    assert json.loads(json.dumps(result)) == result
    assert result["samples"] == 20 + len(space.points) and result["train_images"] == 600
    quantiles = list(result["params_m"]["quantiles"].values())
    assert quantiles == sorted(quantiles) and quantiles[-1] <= 0.2
    assert 0 < result["infeasible"]["share"] < 1
    assert set(result["infeasible"]["reasons"]) == {"params_m <= 0.2"}
    feasible = result["samples"] - sum(result["infeasible"]["reasons"].values())
    assert sum(result["gflops"]["counts"]) == feasible
    rules = {r["name"]: r for r in result["rules"]}
    assert list(rules) == list(RULES)
    assert rules["little_data"]["share"] == 1 and "600 training images" in rules["little_data"]["example"]
    assert not rules["short_schedule"]["on"] and rules["short_schedule"]["acted"] == 0
    assert 20 < result["time"]["seconds"] <= 570 and result["time"]["images_per_second"] > 1


def test_sizes_are_those_of_the_models():
    data = {"space": {"norm.kind": {"kind": "choice", "values": ["gn"]}}, "objectives": [{"name": "ap"}]}
    space = parse_space(data)
    costs = count_costs(build_specs(space, space.sample(random.Random(0)), DIGITS).candidate[0])
    result = check_space(space, DIGITS, samples=2)
    assert set(result["params_m"]["quantiles"].values()) == {costs.params_m}
    assert set(result["gflops"]["quantiles"].values()) == {costs.gflops}
    assert result["gflops"]["counts"] == [2]


@pytest.mark.parametrize(
    ("info", "overrides", "reason"),
    [
        (None, [], "the number of training images is unknown, give --data"),
        (DIGITS, ["constraints=[params_m <= 0.0001]"], "no sampled candidate is feasible"),
    ],
)
def test_no_estimate_says_why(info, overrides, reason):
    result = check_space(load_space("detnet", overrides=overrides), info, samples=3)
    assert result["time"]["assumption"] == f"no estimate: {reason}" and result["time"]["seconds"] is None


def test_candidates_that_train_side_by_side_take_less_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "images_per_second", lambda *_: 100.0)
    monkeypatch.setattr(check, "this_machine", lambda: Node(cpus=8))

    def estimate(*resources: str) -> dict[str, Any]:
        space = load_space("detnet", overrides=["budget.trials=8", "budget.time_limit=1h", *resources])
        return check_space(space, DIGITS, samples=5)["time"]

    one, four = (estimate(f"resources.concurrent={n}", "resources.workers=1") for n in (1, 4))
    assert (one["seconds"] - check.START_SECONDS) == pytest.approx(4 * (four["seconds"] - check.START_SECONDS))
    assert four["trials_in_time"] == pytest.approx(4 * one["trials_in_time"], abs=4)
    assert "4 trials at a time, 1 worker x 2 threads" in four["assumption"]


def test_unknown_part_is_an_input_error():
    data = {"space": {"neck.kind": {"kind": "choice", "values": ["bifpnn"]}}, "objectives": [{"name": "ap"}]}
    with pytest.raises(InputError, match="bifpnn"):
        check_space(parse_space(data, name="mine"), DIGITS, samples=1)


def test_epochs_per_trial():
    halving = load_space("detnet", overrides=["budget.epochs=12", "budget.rungs=[2, 6, 12]", "scheduler.eta=2"])
    assert epochs_per_trial(halving) == 2 + 4 / 2 + 6 / 4
    full = load_space("detnet", overrides=["scheduler.kind=full"])
    assert epochs_per_trial(full) == full.budget.epochs


def test_a_costly_network_is_timed_on_a_smaller_canvas():
    space = load_space("quick", overrides=["space.input.size.values=[1024]", "points=[]"])
    spec, _ = build_specs(space, space.sample(random.Random(0)), AssumedData()).candidate
    assert 0 < images_per_second(spec, count_costs(spec).gflops, "cpu") < 100


def test_boxes_that_no_level_can_learn():
    space = load_space("detnet", overrides=["points=[]"])
    side, image = np.array([3.0, 8.0, 40.0, 40.0]), np.array([[480.0, 640.0]] * 4)
    boxes = TrainingBoxes(side, side, image, None)
    report = check_space(space, DIGITS, samples=3, boxes=boxes)["too_narrow"]
    canvas = build_specs(space, space.sample(random.Random(0)), DIGITS).candidate[0].input
    scale = min(canvas.height / 480, canvas.width / 640)
    stride = int(report["least_at"].split()[-1])
    assert report["least_at"] == f"{canvas.height}x{canvas.width} px, stride {stride}"
    assert report["least"] == (side * scale < stride / 2).mean() > 0
    assert report["least"] <= report["median"] <= report["most"]
    assert check_space(space, DIGITS, samples=1)["too_narrow"] is None
