from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nasdet.cli import resume, search, status
from nasdet.driver.observers.base import Observer
from nasdet.driver.study.function_search import FunctionBroken, start_function_search
from nasdet.driver.study.options import Display, Interrupted, SearchOptions
from nasdet.driver.study.resume import resume_search
from nasdet.errors import InputError
from nasdet.search import StudyStore, load_space, summarise
from nasdet.trial import TrialRecord

SPACE = """
name: mine
space:
  x: {kind: float, low: 0, high: 1}
  layers: {kind: int, low: 1, high: 8}
objectives:
  - {name: accuracy, direction: max}
  - {name: size, direction: min}
budget: {trials: 12, epochs: 9, rungs: [1, 3, 9], seed: 3}
"""
CODE = """
calls = 0
stop_at = None

def good(params, budget):
    global calls
    calls += 1
    if calls == stop_at:
        raise KeyboardInterrupt
    accuracy = (1 - (params["x"] - 0.3) ** 2) * (1 - 0.5 / budget) * (0.6 + 0.05 * params["layers"])
    return {"accuracy": accuracy, "size": 10.0 * params["layers"]}

def other(params, budget):
    return {"acc": 1.0}

def broken(params, budget):
    raise ValueError("no data")

def deep(params, budget):
    return {"accuracy": first(params), "size": 1.0}

def first(params):
    return second(params)

def second(params):
    return params["nope"]
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "mine.yaml").write_text(SPACE)
    (tmp_path / "mine_module.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("NASDET_HOME", raising=False)
    yield tmp_path
    sys.modules.pop("mine_module", None)


def invoke(command: Any, *arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    return dict(json.loads(result.stdout))


def test_the_public_json_without_ray(place: Path) -> None:
    summary = invoke(search.command, "mine.yaml", "--objective", "mine_module:good", "--study", "s", "--seed", "5")
    assert (summary["study"], summary["space"], summary["data"], summary["seed"]) == (
        "s",
        "mine",
        "mine_module:good",
        5,
    )
    assert summary["trials"]["total"] == 12 and summary["trials"]["complete"] >= 4
    assert summary["hypervolume"] > 0 and len(summary["reference_point"]) == 2
    assert all(m["values"].keys() == {"accuracy", "size"} and m["mlflow_run_id"] == "" for m in summary["front"])
    assert invoke(status.command, "s")["front"] == summary["front"]
    assert load_space(place / "s" / "space.yaml", function=True).scheduler.kind == "freeze_thaw"


def test_resume_in_the_middle_is_the_unbroken_study(place: Path) -> None:
    space = load_space("mine.yaml", function=True)
    start_function_search(space, "mine_module:good", SearchOptions(study=place / "whole"))
    module = sys.modules["mine_module"]
    module.calls, module.stop_at = 0, 14  # type: ignore[attr-defined]
    with pytest.raises(Interrupted, match="Go on with: nasdet resume"):
        start_function_search(space, "mine_module:good", SearchOptions(study=place / "broken"))
    invoke(resume.command, "broken")
    whole, broken = (StudyStore.open(place / name).records() for name in ("whole", "broken"))
    strip: Callable[[Any], Any] = lambda records: [r.replace(train_seconds=0.0) for r in records]  # noqa: E731
    assert strip(broken) == strip(whole)


def test_a_finished_study_is_not_run_again(place: Path) -> None:
    start_function_search(load_space("mine.yaml", function=True), "mine_module:good", SearchOptions(study=place / "s"))
    module = sys.modules["mine_module"]
    before = module.calls
    store = StudyStore.open(place / "s")
    resume_search(store.dir)
    assert module.calls == before


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("mine_module", "write MODULE:FUNCTION"),
        ("no_module:good", "cannot import 'no_module' .*run from the folder of no_module.py"),
        ("mine_module:nothing", r"no function 'nothing'; has \['broken', 'deep', 'first', 'good', 'other', 'second'\]"),
        ("mine_module:other", r"returned \['acc'\], not a value for each of \['accuracy', 'size'\]"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_left(place: Path, name: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        start_function_search(load_space("mine.yaml", function=True), name, SearchOptions(study=place / "s"))
    assert not (place / "s").exists()


def test_a_function_that_always_fails_ends_the_search(place: Path) -> None:
    with pytest.raises(FunctionBroken, match=r"5 calls of mine_module:broken in a row failed.*ValueError: no data"):
        start_function_search(
            load_space("mine.yaml", function=True), "mine_module:broken", SearchOptions(study=place / "s")
        )


def test_a_fault_deep_in_a_function_shows_its_own_line(place: Path) -> None:
    line = CODE.splitlines().index('    return params["nope"]') + 1
    space = load_space("mine.yaml", function=True)
    with pytest.raises(FunctionBroken) as broken:
        start_function_search(space, "mine_module:deep", SearchOptions(study=place / "s"))
    assert f"KeyError: 'nope' (mine_module.py:{line} in second)" in str(broken.value)
    assert 'return params["nope"]' in "".join(broken.value.__notes__)
    log = (place / "s" / "log.txt").read_text()
    assert log.count("Traceback") == 5 and f'mine_module.py", line {line}, in second' in log
    reasons = {r.reason for r in StudyStore.open(place / "s").records() if r.state == "failed"}
    assert reasons == {f"KeyError: 'nope' (mine_module.py:{line} in second)"}


def test_a_script_gets_events_and_lines_and_its_path_back(place: Path) -> None:
    class Counting(Observer):
        def __init__(self) -> None:
            self.started_trials, self.values = list[str](), list[float]()

        def started(self, record: TrialRecord, stop: int) -> None:
            self.started_trials.append(record.trial)

        def changed(self, record: TrialRecord, time_left: float) -> None:
            self.values.append(record.values["accuracy"])
            if len(self.values) == 2:
                raise ValueError("a fault of the observer")

    watching, output, path = Counting(), io.StringIO(), list(sys.path)
    display = Display((watching,), output, redirect=False)
    space = load_space("mine.yaml", function=True)
    start_function_search(space, "mine_module:good", SearchOptions(study=place / "s"), display)
    assert len(watching.started_trials) == len(watching.values) >= 12
    lines = output.getvalue().splitlines()
    assert len([line for line in lines if "accuracy" in line]) == len(watching.values)
    assert [line for line in lines if "note" in line] == [
        "note: Counting failed, the search goes on (ValueError: a fault of the observer)"
    ]
    assert "in changed" in (place / "s" / "log.txt").read_text()
    assert sys.path == path


def test_the_table_shows_values_and_parameters(place: Path) -> None:
    arguments = ["mine.yaml", "--objective", "mine_module:good", "--study", "s 1"]
    lines = CliRunner().invoke(search.command, arguments, catch_exceptions=False).stdout.splitlines()
    head = next(line for line in lines if "trial" in line and "accuracy" in line).split()
    assert head == ["trial", "accuracy", "size", "parameters"]
    member = summarise(StudyStore.open(place / "s 1")).front[0]
    row = next(line for line in lines if line.split()[:1] == [member.trial])
    assert f"{member.values['accuracy']:.3g}" in row and f"layers={member.params['layers']}" in row
    assert lines[-2].startswith("next: nasdet ui '") and "nasdet pareto '" in lines[-1]


def test_why_everything_failed_is_said(place: Path) -> None:
    with pytest.raises(FunctionBroken):
        start_function_search(
            load_space("mine.yaml", function=True), "mine_module:broken", SearchOptions(study=place / "s")
        )
    told = CliRunner().invoke(status.command, ["s"], catch_exceptions=False).stdout
    assert "failed: ValueError: no data" in told and "--time-limit" not in told


@pytest.mark.parametrize("option", ["--dry-run", "--seed=1"])
def test_a_tracking_uri_that_cannot_work_is_refused_first(place: Path, option: str) -> None:
    with pytest.raises(InputError, match=r"--tracking-uri: .* is a folder"):
        invoke(search.command, "mine.yaml", "--objective", "mine_module:good", "--tracking-uri", "./runs", option)
    assert not (place / "studies").exists()


def test_options_without_meaning_are_refused(place: Path) -> None:
    with pytest.raises(InputError, match="--data: has no meaning with --objective"):
        invoke(search.command, "mine.yaml", "--objective", "mine_module:good", "--data", "digits")


def test_random_search_with_the_same_budget(place: Path) -> None:
    told = invoke(
        search.command, "mine.yaml", "--objective", "mine_module:good", "--study", "s", "--baseline", "random"
    )
    baseline = told["baseline"]
    assert baseline["study"] == "s-random" and baseline["hypervolume"] > 0
    assert told["trials"]["total"] == 12
    assert baseline["search_epochs"] <= baseline["epochs"] < baseline["search_epochs"] + 9
    module = sys.modules["mine_module"]
    assert module.calls and invoke(status.command, "s/random")["hypervolume"] == baseline["hypervolume"]


def test_a_baseline_asked_for_later_and_interrupted(place: Path) -> None:
    space = load_space("mine.yaml", function=True)
    start_function_search(space, "mine_module:good", SearchOptions(study=place / "s"))
    module = sys.modules["mine_module"]
    module.calls, module.stop_at = 0, 3  # type: ignore[attr-defined]
    with pytest.raises(Interrupted, match=f"Go on with: nasdet resume {place}/s$"):
        invoke(resume.command, str(place / "s"), "--baseline", "random")
    told = invoke(resume.command, "s")["baseline"]
    module.stop_at = None  # type: ignore[attr-defined]
    start_function_search(space, "mine_module:good", SearchOptions(study=place / "whole", baseline=True))
    assert summarise(StudyStore.open(place / "whole")).to_json()["baseline"]["hypervolume"] == told["hypervolume"]


def test_a_function_has_no_seed_to_repeat_with(place: Path) -> None:
    with pytest.raises(InputError, match="--repeat-front: has no meaning with --objective"):
        invoke(search.command, "mine.yaml", "--objective", "mine_module:good", "--repeat-front", "2", "--dry-run")
    start_function_search(load_space("mine.yaml", function=True), "mine_module:good", SearchOptions(study=place / "s"))
    with pytest.raises(InputError, match=r"--repeat-front: .* a function is given no seed; leave it out"):
        invoke(resume.command, "s", "--repeat-front", "2")
