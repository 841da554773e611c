"""`nasdet check`: what it prints, as text and as JSON."""

import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from nasdet.cli.check import _print_time, _print_too_narrow, command, histogram
from nasdet.errors import InputError


def test_json_is_one_object():
    result = CliRunner().invoke(command, ["detnet_coco", "--samples", "4", "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["space"] == "detnet_coco" and report["data"].startswith("assumed")


def test_text_names_sizes_rules_and_time():
    arguments = ["detnet_coco", "--samples", "6", "--set", "rules.off=[large_stem]"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    text = " ".join(result.stdout.split())
    for part in ("detnet_coco: ", "infeasible: ", "rules that acted, with 8 worker(s)", "off (rules.off): large_stem"):
        assert part in text
    assert "no estimate: the number of training images is unknown, give --data" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.yaml"], "no search space 'nothing.yaml'"),
        (["detnet", "--set", "budget.trials"], "is not KEY=VALUE"),
        (["detnet", "--data", "no/such/folder"], "no/such/folder"),
    ],
)
def test_wrong_input(arguments, message):
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_histogram():
    assert histogram([0, 1, 8, 4]) == " ▁█▄"


@pytest.mark.parametrize(
    ("wanted", "fits", "text"),
    [
        (None, 1, "room for about 1 trial; a search wants 10 and more: give it longer"),
        (None, 42, "room for about 42 trials"),
        (12, 3, "room for about 3 trials; a search wants 10 and more: give it longer"),
        (4, 4, "5 min for 4 trials"),
    ],
)
def test_says_where_the_time_is_too_short(wanted, fits, text):
    told = Console(record=True, width=200)
    _print_time(told, {"trials": wanted, "trials_in_time": fits, "seconds": 300, "time_limit": 300, "assumption": "x"})
    lines = told.export_text().splitlines()
    assert any(line.endswith(text) for line in lines) and (wanted != 12 or "12 trials" not in told.export_text())


def test_boxes_that_no_level_can_learn_are_named():
    narrow = {
        "least": 0.0,
        "least_at": "512x512 px, stride 4",
        "median": 0.2,
        "most": 0.5,
        "most_at": "96x96 px, stride 8",
    }
    console = Console(record=True, width=200)
    _print_too_narrow(console, narrow)
    text = "0% (512x512 px, stride 4) to 50% (96x96 px, stride 8), median 20%"
    assert text in console.export_text()
    _print_too_narrow(console, narrow | {"most": 0.0})
    assert not console.export_text()
