"""`nasdet analyze` on stored studies: report and importance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nasdet.cli.analyze import command
from nasdet.errors import InputError
from nasdet.search import StudyStore


def test_report_with_pictures_of_the_front(stored: StudyStore) -> None:
    arguments = [str(stored.dir), "--what", "report", "--json"]
    result = json.loads(CliRunner().invoke(command, arguments, catch_exceptions=False).stdout)
    text = Path(result["page"]).read_text(encoding="utf-8")
    assert Path(result["page"]) == stored.dir / "report" / "report.html" and result["run_id"] == ""
    assert text.count("data:image/jpeg;base64") == 12  # six annotated, six found by t0, the one with weights
    assert "made-1" in text and "importance needs 10 trials" in text


def test_data_that_is_gone_costs_the_pictures_only(stored: StudyStore) -> None:
    stored.save_config(data="gone")
    result = CliRunner().invoke(command, [str(stored.dir), "--what", "report", "--out", "here"], catch_exceptions=False)
    assert "No pictures: the data set cannot be read" in result.stdout and "written: here/report.html" in result.stdout
    assert "data:image/jpeg;base64" not in Path("here/report.html").read_text(encoding="utf-8")


def test_importance_of_too_few_trials_is_one_line(stored: StudyStore) -> None:
    result = CliRunner().invoke(command, [str(stored.dir), "--what", "importance"], catch_exceptions=False)
    assert result.stdout == "made-1: importance needs 10 trials trained in full, there are 3\n"


def test_nothing_to_report(stored: StudyStore) -> None:
    stored.save_config(reference_point=[])
    with pytest.raises(InputError, match="made-1: no trial was measured yet"):
        CliRunner().invoke(command, [str(stored.dir), "--what", "report"], catch_exceptions=False)


def test_options_of_another_analysis_are_refused() -> None:
    result = CliRunner().invoke(command, ["best", "--what", "errors", "--with", "second"])
    assert str(result.exception) == "--with: has no meaning with --what errors, only with spectrum"
