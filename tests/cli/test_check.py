"""`nasdet check`: what it prints, as text and as JSON."""

import json

import pytest
from click.testing import CliRunner

from nasdet.cli.check import command, histogram
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
