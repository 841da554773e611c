"""`nasdet search --train`: what follows the search."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import nasdet
from nasdet.cli.resume import command as resume_command
from nasdet.cli.search import command
from nasdet.data import open_data
from nasdet.driver.inference import evaluate
from nasdet.driver.resources import Node
from nasdet.driver.study import resume, winner
from nasdet.driver.study.options import PICKED, TRAINED, ResumeOptions, split_time
from nasdet.driver.study.winner import train_winner
from nasdet.driver.training import train
from nasdet.errors import InputError, NasdetError
from nasdet.export import read_bundle
from nasdet.search import StudyStore, summarise
from nasdet.trainers.full_training import FullTraining, History


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of one process that wait for each other are slow beside another test process."""
    monkeypatch.setattr(train, "this_machine", lambda: Node(1))
    monkeypatch.setattr(evaluate, "cpu_count", lambda: 1)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training, late as it may be, takes two seconds."""
    monkeypatch.setattr(winner, "LEAST_SECONDS", 2.0)


def nothing(*_: Any) -> None:
    """Shows no progress."""


def test_the_parts_fill_the_time() -> None:
    for limit in (60.0, 600.0, 36_000.0):
        search, training = split_time(limit)
        assert search == pytest.approx(limit / 3) and 0.9 * limit <= search + training < limit
        assert limit - search - training <= 60


def test_the_pick_is_trained_judged_and_exported(stored: StudyStore, short: None) -> None:
    stored.save_config(train="ap>0.4")
    done = train_winner(stored, nothing, until=time.monotonic())
    assert done["trial"] == "t0" and done["bundle"] == str(stored.dir / TRAINED)
    assert done["onnx"] and (stored.dir / TRAINED / "model.onnx").is_file()
    assert done["val"]["seconds"] >= 1.5 and 0 <= done["test"]["ap"] <= 1 and done["test"]["images"] == 150
    card = read_bundle(stored.dir / TRAINED).metrics
    assert card["study"] == "made-1" and card["trial"] == "t0"
    assert nasdet.load_study(stored.dir).trained.path == stored.dir / TRAINED
    again = train_winner(stored, nothing)  # it is done already
    assert again["val"] == done["val"] and again["test"]["ap"] == pytest.approx(done["test"]["ap"])


@pytest.mark.slow
def test_the_time_that_is_left_is_used(stored: StudyStore, short: None) -> None:
    stored.save_config(train="best")
    train_winner(stored, nothing, until=time.monotonic() + 6.0)
    assert 4.0 < History.read(stored.dir / TRAINED / "training").seconds < 9.0


def test_nothing_was_trained(stored: StudyStore) -> None:
    with pytest.raises(InputError, match="made-1: nothing was trained in full; search with train=True"):
        _ = nasdet.load_study(stored.dir).trained
    stored.save_config(train="latency_ms<1")
    with pytest.raises(InputError, match="latency_ms<1"):
        train_winner(stored, nothing)
    assert not (stored.dir / TRAINED).exists()


def test_a_job_that_is_tried_again_may_ask_for_the_training(stored: StudyStore) -> None:
    stored.save_config(finished=True)
    resume.resume_search(stored.dir, ResumeOptions(train="knee"))
    assert StudyStore.open(stored.dir).config.train == "knee"
    (stored.dir / PICKED).mkdir()  # the training has begun
    resume.resume_search(stored.dir, ResumeOptions(train="best"))
    assert StudyStore.open(stored.dir).config.train == "knee"


def test_the_command_says_what_came_of_it(stored: StudyStore, short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {
        "ap": 0.25,
        "ap50": 0.5,
        "class_ap/1": 0.4,
        "class_ap/2": 0.1,
    }  # the detector is judged in the test above
    monkeypatch.setattr(winner, "evaluate_bundle", lambda *_: figures)
    monkeypatch.setattr(winner, "_add_onnx", lambda *_: True)
    stored.save_config(train="best", finished=True)
    monkeypatch.setattr(resume, "search_or_resume", lambda *_, **__: summarise(stored))
    asked = ["detnet", "--time-limit", "3s", "--train", "--pick", "best"]
    told = CliRunner().invoke(command, asked, catch_exceptions=False)
    lines = told.stdout.splitlines()
    assert lines[-3].startswith("t0 trained in full, ") and "AP 0.2500, AP50 0.5000 on test -> " in lines[-3]
    assert lines[-2].startswith("2 is found worst, AP 0.100 where the median of all classes is 0.250, with ")
    assert lines[-1] == f"next: nasdet predict {stored.dir / TRAINED} IMAGES --out found"
    report = json.loads(CliRunner().invoke(command, [*asked, "--json"], catch_exceptions=False).stdout)
    assert report["study"] == "made-1" and report["trained"]["trial"] == "t0"
    goes_on = CliRunner().invoke(resume_command, [str(stored.dir)], catch_exceptions=False).stdout.splitlines()
    assert goes_on[-3:] == lines[-3:]


def test_the_class_that_is_found_worst_is_named() -> None:
    digits = open_data("digits")
    even = {f"class_ap/{n}": 0.5 for n in range(10)}
    assert winner.weakest_class({"ap": 0.5, **even}, digits) is None
    weakest = winner.weakest_class({**even, "class_ap/3": 0.1, "class_ap/4": -1.0}, digits)
    boxes = sum((record.labels == 3).sum() for record in digits.images("train"))
    assert weakest == {"name": "3", "ap": 0.1, "median_ap": 0.5, "boxes": boxes}
    assert winner.weakest_class({"ap": 0.5, "class_ap/0": 0.5}, digits) is None


def test_an_interrupted_training_says_how_to_go_on(stored: StudyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    stored.save_config(train="best")
    monkeypatch.setattr(resume, "search_or_resume", lambda *_, **__: summarise(stored))
    save = FullTraining._save

    def save_and_interrupt(training: FullTraining) -> None:
        save(training)
        raise KeyboardInterrupt

    monkeypatch.setattr(FullTraining, "_save", save_and_interrupt)
    with pytest.raises(NasdetError) as raised:
        CliRunner().invoke(command, ["detnet", "--time-limit", "30s", "--train"], catch_exceptions=False)
    assert str(raised.value).endswith(f"Go on with: nasdet resume {stored.dir}") and raised.value.exit_code == 130
    assert Path(stored.dir, TRAINED, "training", "last.pt").is_file()


def test_a_pick_without_a_training() -> None:
    with pytest.raises(InputError, match="--pick: says what to train; add --train"):
        CliRunner().invoke(command, ["detnet", "--pick", "best"], catch_exceptions=False)
