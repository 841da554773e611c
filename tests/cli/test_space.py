"""`nasdet space`, and a search whose space follows from the data."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from nasdet.api.search import prepare_space
from nasdet.cli.space import command
from nasdet.driver.study.options import SEARCH_SHARE
from nasdet.errors import InputError
from nasdet.search import StudyStore
from nasdet.space import load_space


def test_it_is_printed_or_written_and_never_over_another_file() -> None:
    printed = CliRunner().invoke(command, ["--data", "digits"], catch_exceptions=False).stdout
    assert "# flips turn letters and digits into others" in printed
    asked = ["--data", "digits", "--time-limit", "9m", "--train", "--out", "my.yaml"]
    said = CliRunner().invoke(command, asked, catch_exceptions=False).stdout
    assert said == "written: my.yaml; next: nasdet search my.yaml --data digits\n"
    space = load_space("my.yaml")
    assert space.budget.time_limit == 180 and space.data.source == "digits"
    with pytest.raises(InputError, match=r"my.yaml: exists already; name another --out"):
        CliRunner().invoke(command, asked, catch_exceptions=False)


def test_a_search_without_a_space() -> None:
    space = prepare_space(None, "digits", time_limit="20m", overrides=["budget.seed=3"], train=True)
    assert space.name == "auto" and space.budget.seed == 3
    assert space.budget.time_limit == pytest.approx(1200 * SEARCH_SHARE)
    with pytest.raises(InputError, match="no search space and no data set; add --data SRC"):
        prepare_space("auto")


def test_a_study_that_goes_on_keeps_its_space(stored: StudyStore, tmp_path: Path) -> None:
    kept = prepare_space(None, "digits", goes_on=stored.dir)
    assert kept.parameters == stored.space.parameters and kept.name == stored.space.name
    assert prepare_space(None, "digits", goes_on=tmp_path / "new").name == "auto"


def test_a_given_space_shares_its_time_with_the_training() -> None:
    space = load_space("detnet")
    assert prepare_space("detnet", train=True).budget.time_limit == pytest.approx(570 * SEARCH_SHARE)
    with pytest.raises(InputError, match="--train: no time limit; add --time-limit"):
        prepare_space(space, overrides=["budget.time_limit=null"], train=True)
    function = {
        "space": {"x": {"kind": "float", "low": 0, "high": 1}},
        "objectives": [{"name": "y", "direction": "min"}],
    }
    with pytest.raises(InputError, match="--train: there is nothing to train; leave it out with --objective"):
        prepare_space(function, time_limit=60, function=True, train=True)
