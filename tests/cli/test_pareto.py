"""`nasdet pareto` on a stored study."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nasdet.cli.pareto import command
from nasdet.errors import InputError
from nasdet.search import StudyStore


def test_table_json_and_files(stored: StudyStore, tmp_path: Path) -> None:
    study = str(stored.dir)
    text = CliRunner().invoke(command, [study], catch_exceptions=False).stdout
    assert "made-1" in text and "t0" in text and "nasdet export" in text
    png, page, table = (str(tmp_path / name) for name in ("front.png", "front.html", "trials.csv"))
    arguments = [study, "--plot", png, "--csv", table, "--json"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    summary = json.loads(result.stdout)
    assert [m["trial"] for m in summary["front"]] == ["t0", "t1"] and "written: " in result.stderr
    CliRunner().invoke(command, [study, "--plot", page], catch_exceptions=False)
    assert Path(png).stat().st_size > 10_000 and "<script" in Path(page).read_text()
    with Path(table).open(newline="") as file:
        assert [row["pareto"] for row in csv.DictReader(file)] == ["true", "true", "false"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plot", "front.pdf"], "--plot: cannot draw 'front.pdf'; name a file that ends in .png or .html"),
        (["--csv", "/proc/no/trials.csv"], "cannot be written"),
    ],
)
def test_wrong_input(stored: StudyStore, arguments: list[str], message: str) -> None:
    with pytest.raises(InputError) as error:
        CliRunner().invoke(command, [str(stored.dir), *arguments], catch_exceptions=False)
    assert message in str(error.value)


def test_nothing_to_draw_yet(stored: StudyStore) -> None:
    stored.save_config(reference_point=[])
    with pytest.raises(InputError, match="made-1: no trial was measured yet, so there is nothing to draw"):
        CliRunner().invoke(command, [str(stored.dir), "--plot", "front.png"], catch_exceptions=False)
    CliRunner().invoke(command, [str(stored.dir), "--csv", "trials.csv"], catch_exceptions=False)
    assert Path("trials.csv").exists()


def test_the_json_shows_no_password(stored: StudyStore) -> None:
    stored.save_config(tracking_uri="http://me:secret@host:5000")
    summary = json.loads(CliRunner().invoke(command, [str(stored.dir), "--json"], catch_exceptions=False).stdout)
    assert summary["tracking_uri"] == "http://me:***@host:5000"


def test_no_such_study(stored: StudyStore) -> None:
    with pytest.raises(InputError, match="no study 'nobody'"):
        CliRunner().invoke(command, ["nobody"], catch_exceptions=False)
