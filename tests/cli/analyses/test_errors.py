from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nasdet.cli.analyses import Request
from nasdet.cli.analyses.errors import run
from nasdet.cli.analyze import command
from nasdet.data import open_data
from nasdet.driver.inference.evaluate import evaluate_bundle
from nasdet.errors import InputError
from nasdet.evaluation import METRICS
from nasdet.export import Bundle


def test_a_bundle_end_to_end(digits_bundle: Bundle, analyze: Callable[..., Any]) -> None:
    out = Path("found")
    out.mkdir()
    (out / "worst-9.png").touch()  # of an earlier run
    (out / "errors.json").write_text('{"files": ["errors.json", "worst-9.png"]}')
    printed = analyze(digits_bundle.path, "--what", "errors", "--out", str(out))
    assert printed == json.loads((out / "errors.json").read_text())
    assert sorted(printed["files"]) == sorted(file.name for file in out.iterdir())
    evaluated = evaluate_bundle(digits_bundle, open_data("digits"), "val")
    assert {n: printed[n] for n in ("ap", "ap50")} == pytest.approx(
        {n: evaluated[n] for n in METRICS if n in ("ap", "ap50")}
    )
    for name in ("types", "confidence", "classes", "sizes", "worst"):
        with (out / f"{name}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [list(row) for row in rows] == [list(row) for row in printed[name]]
    assert printed["advice"][0].startswith("Most is lost to ")


def test_people_read_types_and_advice(digits_bundle: Bundle) -> None:
    options = [str(digits_bundle.path), "--what", "errors", "--split", "test"]
    lines = CliRunner().invoke(command, options, catch_exceptions=False).stdout.splitlines()
    assert "on test of digits: AP" in lines[0]
    assert {line.split()[0] for line in lines[3:9]} == {
        "classification", "localisation", "both", "duplicate", "background", "missed",
    }  # fmt: skip
    assert lines[-1].endswith(f"-> {digits_bundle.path / 'errors'}")


def test_wrong_input_is_one_line(digits_bundle: Bundle) -> None:
    asked = Request(str(digits_bundle.path), None, "val", None, None)
    for changes, message in (
        ({"target": None}, "no bundle given"),
        ({"target": "nowhere"}, "no such bundle folder"),
        ({"split": "dev"}, "no split 'dev'"),
    ):
        with pytest.raises(InputError, match=message):
            run(Request(**{**vars(asked), **changes}))
