"""Who may go on with a study, where, and with how much more to spend."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import nasdet
from nasdet.cli import resume, search, status
from nasdet.data import open_data
from nasdet.driver.observers.base import Observer
from nasdet.driver.study import resume as driver_resume
from nasdet.driver.study.detector_search import start_search
from nasdet.driver.study.options import Display, Interrupted, ResumeOptions, SearchOptions
from nasdet.driver.study.resume import resume_search
from nasdet.errors import InputError
from nasdet.search import StudyStore
from nasdet.search.records.extension import More
from nasdet.search.records.owner import InUse, own
from nasdet.study_config import Limits, StudyConfig
from nasdet.trial import NOT_PROMOTED, Rung, TrialRecord
from tests.driver.conftest import tiny_space
from tests.driver.study.test_detector_search import fail_with
from tests.driver.study.test_function_search import SPACE as FUNCTION_SPACE

SPACE = FUNCTION_SPACE.replace("trials: 12", "trials: 8")
CODE = """
import time
from pathlib import Path

calls, stop_at = 0, None

def good(params, budget):
    global calls
    calls += 1
    if calls == stop_at:
        raise KeyboardInterrupt
    accuracy = (1 - (params["x"] - 0.3) ** 2) * (1 - 0.5 / budget) * (0.6 + 0.05 * params["layers"])
    return {"accuracy": accuracy, "size": 10.0 * params["layers"]}

def held(params, budget):
    while Path("hold").exists():
        time.sleep(0.05)
    return good(params, budget)

def other(params, budget):
    return good(params, budget)
"""
RIVALS = """
import json, os, signal, sys, time
from pathlib import Path
from nasdet.cli import main, resume
import nasdet.api.arguments, nasdet.cli.output, nasdet.driver.study.resume  # once, not in each of the twenty
from nasdet.search import StudyStore
from nasdet.search.records.extension import More
from nasdet.search.records.owner import owner_of

def fork(*command):
    child = os.fork()
    if child == 0:
        os._exit(main._run(list(command), debug=False))
    return child

searching = fork(*"search mine.yaml --objective mine_module:held --study s --json".split())
while not Path("s", "study.json").exists() or not StudyStore.open(Path("s")).records():
    time.sleep(0.05)
codes = [os.waitstatus_to_exitcode(os.waitpid(fork("resume", "s"), 0)[1]) for _ in range(20)]
found = owner_of(Path("s"))
os.kill(searching, signal.SIGKILL)
os.waitpid(searching, 0)
print(json.dumps({"searching": searching, "codes": codes, "owner": found.pid}))
"""
"""One process searches, and twenty others, one after another, try to go on with its study."""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "mine.yaml").write_text(SPACE)
    (tmp_path / "mine_module.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("NASDET_HOME", raising=False)
    yield tmp_path
    sys.modules.pop("mine_module", None)


def invoke(command: Any, *arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    return dict(json.loads(result.stdout))


def searched(*more: str, study: str = "s") -> dict[str, Any]:
    return invoke(search.command, "mine.yaml", "--objective", "mine_module:good", "--study", study, *more)


def interrupted_after(calls: int, run: Callable[[], object]) -> None:
    module = importlib.import_module("mine_module")
    module.calls, module.stop_at = 0, calls + 1  # type: ignore[attr-defined]
    with pytest.raises(Interrupted):
        run()
    module.stop_at = None  # type: ignore[attr-defined]


def told(folder: str) -> str:
    return CliRunner().invoke(status.command, [folder], catch_exceptions=False).stdout


@pytest.mark.timeout(200)
def test_while_a_search_runs_nobody_else_goes_on_with_its_study(place: Path) -> None:
    (place / "hold").touch()
    done = subprocess.run([sys.executable, "-c", RIVALS], capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["codes"] == [2] * 20 and found["owner"] == found["searching"]
    who = f"process {found['searching']} on {socket.gethostname()}, since"
    refused = f"nasdet: s: another process works on this study: {who}"
    assert sum(line.startswith(refused) for line in done.stderr.splitlines()) == 20
    # The search was killed; its study opens, and goes on.
    (place / "hold").unlink()
    before = StudyStore.open(place / "s").records()
    assert "not running; go on with: nasdet resume s" in told("s") and invoke(status.command, "s")["owner"] is None
    after = invoke(resume.command, "s", "--max-epochs", "2")
    assert before and after["trials"]["running"] == 0
    assert StudyStore.open(place / "s").records()[: len(before)] != before


def test_a_running_study_says_who_works_on_it(place: Path) -> None:
    searched()
    with own(place / "s"):
        assert f"running: process {os.getpid()} on {socket.gethostname()}, since" in told("s")
        assert invoke(status.command, "s")["owner"]["pid"] == os.getpid()
    assert "running" not in told("s")


def test_one_command_starts_a_study_and_goes_on_with_it(place: Path) -> None:
    interrupted_after(5, lambda: searched("--or-resume"))
    rungs = {r.trial: r.rungs for r in StudyStore.open(place / "s").records() if r.rungs}
    found = nasdet.run_search("mine.yaml", objective="mine_module:good", study="s", or_resume=True, progress=False)
    assert len(found.records) == 8 and found.summary["trials"]["running"] == 0 and rungs
    after = {r.trial: r.rungs for r in StudyStore.open(place / "s").records()}
    assert all(after[trial][: len(reached)] == reached for trial, reached in rungs.items())


def test_a_job_that_is_tried_again_waits_for_the_end_of_the_try_before(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_after(2, lambda: searched("--or-resume"))
    monkeypatch.setattr(driver_resume, "SECONDS_BETWEEN_TRIES", 0.1)
    begun, waited = threading.Event(), threading.Event()

    def hold() -> None:
        with own(place / "s"):
            begun.set()
            waited.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(10)
    with pytest.raises(InUse):
        invoke(resume.command, "s")
    threading.Timer(0.5, waited.set).start()
    assert searched("--or-resume")["trials"]["running"] == 0
    thread.join()


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["--seed", "4"], r"another space: budget\.seed is 3 there, 4 here; name another with --study"),
        (["--set", "space.x.high=2"], r"another space: space\.x\.high is 1 there, 2 here"),
        (["--objective", "mine_module:other"], "another objective: mine_module:good"),
        (["--tracking-uri", "sqlite:///other.db"], "another MLflow store: a file beside it"),
    ],
)
def test_another_study_is_not_gone_on_with(place: Path, more: list[str], what: str) -> None:
    interrupted_after(2, searched)
    for last in ([], ["--dry-run"]):
        with pytest.raises(InputError, match=f"--or-resume: s: the study there has {what}"):
            searched("--or-resume", *more, *last)
    assert searched("--or-resume", "--dry-run")["ready"]
    with pytest.raises(InputError, match=r"--or-resume: needs a study that has a name; .*--study DIR"):
        invoke(search.command, "mine.yaml", "--objective", "mine_module:good", "--or-resume")


def test_a_study_that_died_while_it_was_made_is_made_again(place: Path) -> None:
    searched(study="whole")
    (place / "s").mkdir()
    shutil.copy(place / "whole" / "optuna.db", place / "s")
    (place / "s" / "space.yaml").write_text("half")
    with pytest.raises(InputError, match="not an empty folder"):
        searched("--or-resume")
    (place / "s" / "owner.json").write_text('{"host": "far", "pid": 7, "since": 0}')
    assert searched("--or-resume")["trials"]["total"] == 8


def test_more_to_spend_on_the_command_line_and_in_python(place: Path) -> None:
    first = searched("--baseline", "random")
    more = invoke(resume.command, "s", "--trials", "4")
    assert more["trials"]["total"] == 12 and more["hypervolume"] >= first["hypervolume"]
    assert more["reference_point"] == first["reference_point"]
    assert first["baseline"]["epochs"] < more["baseline"]["epochs"] >= more["baseline"]["search_epochs"]
    store = StudyStore.open(place / "s")
    assert store.config.limits == Limits(trials=12) and "trials: 8" in (place / "s" / "space.yaml").read_text()
    spent = store.ledger.epochs
    study = nasdet.load_study("s").resume(max_epochs=20, progress=False)
    assert spent < sum(r.epochs for r in study.records) <= spent + 20
    study.resume(time_limit="0.5s", progress=False)
    assert StudyStore.open(place / "s").config.limits.time_limit > 0.5  # type: ignore[union-attr]


def test_a_storage_that_moved(place: Path) -> None:
    interrupted_after(9, lambda: searched("--storage", "sqlite:///old/optuna.db", "--baseline", "random"))
    (place / "old").rename(place / "new")
    with pytest.raises(InputError, match="the study's storage is missing"):
        invoke(resume.command, "s")
    done = invoke(resume.command, "s", "--storage", "sqlite:///new/optuna.db")
    assert done["trials"]["total"] == 8 and done["baseline"]["trials"]["complete"] > 0
    (place / "new").rename(place / "newer")
    done = invoke(resume.command, "s", "--storage", "sqlite:///newer/optuna.db", "--trials", "1")
    assert done["trials"]["total"] == 9
    assert StudyStore.open(place / "s" / "random").config.storage == f"sqlite:///{place.resolve()}/newer/optuna.db"


def test_an_older_copy_of_the_storage_is_refused(place: Path) -> None:
    store = StudyStore.create(place / "s", StudyConfig(study="s", data="digits"), tiny_space())
    shutil.copy(place / "s" / "optuna.db", place / "old.db")
    store.put(TrialRecord("t0000", 0, "paused", {}, {}, {}, {"ap": 0.1}, 1, (Rung(1, {"ap": 0.1}),)))
    store.trial_dir("t0000").mkdir(parents=True)
    with pytest.raises(
        InputError, match=r"--storage sqlite:///.*old.db: lacks trial t0000, which the study has trained"
    ):
        invoke(resume.command, "s", "--storage", "sqlite:///old.db")


def test_the_data_may_move_but_not_change(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = open_data("digits").info
    own = {"classes": info.classes, "images": info.splits, "fingerprint": info.fingerprint}
    config = StudyConfig(study="s", data="/gone", **own)
    StudyStore.create(place / "s", config, tiny_space())
    for name, other in {"classes": ("cat",), "images": {"train": 3}, "fingerprint": "abc"}.items():
        StudyStore.open(place / "s").save_config(**{**own, name: other})  # type: ignore[typeddict-item]
        what = f"its {name} are" if name != "fingerprint" else "its images, boxes or splits differ"
        with pytest.raises(InputError, match=f"--data digits: not the study's data: {what}"):
            invoke(resume.command, "s", "--data", "digits")
        assert StudyStore.open(place / "s").config.data == "/gone"
    StudyStore.open(place / "s").save_config(**own)  # type: ignore[typeddict-item]
    monkeypatch.setattr("nasdet.driver.study.detector_search.ray_cluster", fail_with(KeyboardInterrupt()))
    with pytest.raises(Interrupted):
        resume_search(Path("s"), ResumeOptions(data="digits", address="auto"))
    config = StudyStore.open(place / "s").config
    assert (config.data, config.address) == ("digits", "auto")


def test_options_without_meaning_for_a_function_are_refused(place: Path) -> None:
    searched()
    for option, value in {"--data": "digits", "--address": "auto", "--repeat-front": "2"}.items():
        with pytest.raises(InputError, match=f"{re.escape(option)}: has no meaning with --objective"):
            invoke(resume.command, "s", option, value)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_paused_training_goes_on_from_its_checkpoint_in_a_search_that_had_ended(
    without_ray: None, tmp_path: Path
) -> None:
    class Epochs(Observer):
        def __init__(self) -> None:
            self.seen: list[tuple[str, int]] = []

        def epoch(self, record: TrialRecord, epoch: int, means: dict[str, float]) -> None:
            self.seen.append((record.trial, epoch))

    changes = ("scheduler.kind=halving", "scheduler.eta=1", "budget.total_epochs=3", "budget.time_limit=null")
    space = tiny_space(*changes)  # the first is trained in full, the second to its first rung
    start_search(space, SearchOptions(study=tmp_path / "s"), Display(output=io.StringIO(), redirect=False))
    (waiting,) = (r for r in StudyStore.open(tmp_path / "s").records() if r.state == "stopped")
    assert (waiting.reason, waiting.epochs) == (NOT_PROMOTED, 1)
    watching = Epochs()
    display = Display((watching,), io.StringIO(), redirect=False)
    resume_search(tmp_path / "s", ResumeOptions(more=More(epochs=1)), display)
    record = StudyStore.open(tmp_path / "s").get(waiting.trial)
    assert watching.seen == [(waiting.trial, 2)] and record.state == "complete" and record.rungs[:1] == waiting.rungs
