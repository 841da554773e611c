"""How early the order of candidates is known."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from nasdet.cli.main import cli
from nasdet.driver.calibrate import _without_stops, calibrate, fidelities, write_calibration
from nasdet.driver.observers.progress import ranking_doubt
from nasdet.driver.study.options import SearchOptions
from nasdet.errors import InputError
from nasdet.search import open_study
from nasdet.space import load_space
from nasdet.trial import Rung, TrialRecord

SIX = load_space("detnet", overrides=["budget.epochs=6", "budget.rungs=[2,6]"])


def records(early: list[float], final: list[float]) -> list[TrialRecord]:
    return [
        TrialRecord(f"t{i}", i, "complete", {}, rungs=(Rung(2, {"ap": a}), Rung(6, {"ap": b})))
        for i, (a, b) in enumerate(zip(early, final, strict=True))
    ]


def test_the_same_order_is_one_and_the_reverse_minus_one() -> None:
    ordered = [i / 10 for i in range(8)]
    [same] = fidelities(records(ordered, [x**2 for x in ordered]), "ap", SIX)
    [reverse] = fidelities(records(ordered, ordered[::-1]), "ap", SIX)
    assert (same["tau"], same["cost"]) == pytest.approx((1, 1 / 3)) and same["epochs"] == 2
    assert reverse["tau"] == pytest.approx(-1) and reverse["high"] < -0.9


def test_interval_is_wide_for_few_and_holds_the_value() -> None:
    rng = random.Random(0)
    for count, width in ((6, 0.5), (60, 0.1)):
        final = [rng.random() for _ in range(count)]
        [found] = fidelities(records([f + rng.gauss(0, 0.2) for f in final], final), "ap", SIX)
        assert found["low"] <= found["tau"] <= found["high"]
        assert found["high"] - found["low"] > width
    assert found["high"] - found["low"] < 0.4


def test_small_images_cost_less() -> None:
    small = load_space(
        "detnet", overrides=["budget.epochs=6", "budget.rungs=[2,6]", "fixed.recipe.progressive.scale=0.5"]
    )
    [found] = fidelities(records([0.1, 0.2], [0.1, 0.2]), "ap", small)
    assert found["cost"] == pytest.approx(2 / 4 / (3 / 4 + 3))


def test_equal_values_have_no_order() -> None:
    [found] = fidelities(records([0.0] * 5, [0.1, 0.2, 0.3, 0.4, 0.5]), "ap", SIX)
    assert found["tau"] == 0


RESULT = {
    "models": 12,
    "epochs": 18,
    "cheapest": 2,
    "fidelities": [{"epochs": 2, "tau": 0.7512, "low": 0.5, "high": 0.9, "cost": 0.11}],
}


def test_written_into_the_file_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = load_text() + "budget: {trials: 5, epochs: 18, rungs: [9, 18]} # mine\n"
    path.write_text(text)
    assert write_calibration(path, RESULT, 3) == (2, 6, 18)
    written = path.read_text()
    assert "# what is searched" in written and "# mine" in written
    assert written.splitlines()[:5] == text.splitlines()[:5]
    space = load_space(path)
    assert space.rungs() == (2, 6, 18)
    assert space.calibration is not None and space.calibration.tau == 0.751
    assert ranking_doubt(space) == ""
    child = tmp_path / "child.yaml"
    child.write_text("extends: mine.yaml\n")
    assert load_space(child).calibration is None


def load_text() -> str:
    return """# what is searched
space:
  recipe.base_lr: {kind: float, low: 0.001, high: 0.01, log: true}
objectives:
  - {name: ap, direction: max}
"""


def test_nothing_is_written_where_nothing_ranks(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(load_text())
    with pytest.raises(InputError, match=r"no shorter training keeps a tau of 0.7; set scheduler: \{kind: full\}"):
        write_calibration(path, {**RESULT, "cheapest": None}, 3)
    assert path.read_text() == load_text()


def test_rungs_of_another_length_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: detnet\nname: mine\n")
    for option in (["--max-epochs", "4"], ["--set", "budget.epochs=4", "--set", "budget.rungs=null"]):
        result = CliRunner().invoke(cli, ["calibrate", str(path), "--data", "digits", "--write", *option])
        assert isinstance(result.exception, InputError)
        assert "set budget.epochs: 4 in it first" in str(result.exception)


def test_a_limit_of_epochs_does_not_cut_the_order_short() -> None:
    limited = load_space("detnet", overrides=["budget.total_epochs=9"])
    found = _without_stops(limited, [], 12).budget
    assert found.total_epochs is None and found.time_limit is None and found.trials == 12


def test_a_space_without_accuracy_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(load_text().replace("ap, direction: max", "params_m"))
    with pytest.raises(InputError, match="mine: has no objective ap or ap50 to order candidates by; add one"):
        calibrate(load_space(path), SearchOptions(data="digits"), 4)


def test_doubts_are_said(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(load_text())
    assert ranking_doubt(load_space(path)).startswith("never calibrated: whether 1 of 12 epochs rank candidates")
    path.write_text(load_text() + "calibration: {epochs: 1, tau: 0.31, low: 0.0, high: 0.6, models: 9}\n")
    assert "rank candidates badly here (Kendall's tau 0.31)" in ranking_doubt(load_space(path))
    assert ranking_doubt(load_space(path, overrides=["scheduler.kind=full"])) == ""


@pytest.mark.slow
def test_a_real_calibration(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text("extends: detnet.yaml\nbudget: {epochs: 4, rungs: [1, 4]}\nresources: {workers: 1}\n")
    options = ["--models", "5", "--study", str(tmp_path / "study"), "--json"]
    done = CliRunner().invoke(cli, ["calibrate", str(path), *options], catch_exceptions=False)
    result = json.loads(done.stdout)
    assert result["models"] == 5
    assert [f["epochs"] for f in result["fidelities"]] == [1, 2]
    store = open_study(tmp_path / "study")
    assert all(len(r.rungs) == 3 for r in store.records() if r.state == "complete")
    costs = sorted(r.values["gflops"] for r in store.records() if r.state == "complete")
    assert costs[-1] > 2 * costs[0]
