"""`nasdet pareto` on a stored study."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nasdet.cli.pareto import command
from nasdet.errors import InputError
from nasdet.evaluation import write_resamples
from nasdet.search import StudyStore
from nasdet.search.records.repeats import Repeat, RepeatStore


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


def test_what_cannot_be_told_apart_is_said(stored: StudyStore) -> None:
    common = np.random.default_rng(0).normal(0, 0.2, 200)
    for number, trial in enumerate(("t0", "t1")):
        own = np.random.default_rng(number + 1).normal(0, 0.1, 200)
        write_resamples(stored.trial_dir(trial), {"ap": stored.get(trial).values["ap"] + common + own})
    text = CliRunner().invoke(command, [str(stored.dir)], catch_exceptions=False).stdout
    assert re.search(r"cannot be told apart in AP on these images: t0 over t1 \(9\d% sure\)", text)
    repeats = RepeatStore(stored.dir)
    for seed, ap in ((1, 0.44), (2, 0.46)):
        record = stored.get("t0").replace(trial=f"t0-seed{seed}", values={"ap": ap})
        repeats.add(Repeat("t0", seed, record))
    text = CliRunner().invoke(command, [str(stored.dir)], catch_exceptions=False).stdout
    assert "t0 trained again: AP 0.450 ± 0.014 (seeds 1, 2)" in text


def test_the_interval_stands_beside_ap(stored: StudyStore) -> None:
    values = {**stored.get("t0").values, "ap": 0.6, "ap_low": 0.51, "ap_high": 0.68}
    stored.put(stored.get("t0").replace(trial="t9", number=9, values=values))
    text = CliRunner().invoke(command, [str(stored.dir)], catch_exceptions=False).stdout
    assert "90%" in text and "0.51-0.68" in text
