"""The page and the files beside it, from a stored study."""

from __future__ import annotations

import csv
import json
import random
import re
from pathlib import Path

import numpy as np
from markupsafe import escape

from nasdet.analysis.front_history import compare_curves
from nasdet.analysis.report.content import Pictures, Report
from nasdet.analysis.report.write import PAGE, write_report
from nasdet.evaluation import write_resamples
from nasdet.search import StudyStore, summarise
from nasdet.search.records.baseline import create_baseline
from nasdet.space import parse_space
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.study_config import StudyConfig
from nasdet.trial import Rung, TrialRecord

NASTY = "</script><script>alert(1)</script>"
DATA = {
    "name": "made",
    "space": {
        "x": {"kind": "float", "low": 0, "high": 1},
        "kind": {"kind": "choice", "values": ["a", NASTY]},
        "depth": {"kind": "int", "low": 1, "high": 4, "when": {"kind": "a"}},
    },
    "objectives": [{"name": "ap", "direction": "max"}, {"name": "latency_ms", "direction": "min"}],
    "budget": {"trials": 30, "epochs": 4},
}


def made(folder: Path, trials: int = 24, *, detectors: bool = True, intervals: bool = False) -> StudyStore:
    config = StudyConfig(study=folder.name, data="digits", reference_point=[0.0, 12.0], wall_seconds=3700.0)
    config["classes"] = ["cat", f"dog {NASTY}"]
    store = StudyStore.create(folder, config, parse_space(DATA, function=True))
    rng = random.Random(0)
    for number in range(trials):
        params = store.space.sample(rng)
        x = float(params["x"])  # type: ignore[arg-type]
        values = {"ap": 0.2 + 0.6 * x, "latency_ms": 2 + 8 * x + rng.random()}
        values |= {"ap_low": values["ap"] - 0.05, "ap_high": values["ap"] + 0.05} if intervals else {}
        state = "failed" if number == 3 else "stopped" if number % 5 == 0 else "complete"
        reason = {"failed": f"broken {NASTY}", "stopped": "not promoted"}.get(state, "")
        record = TrialRecord(f"t{number:04d}", number, state, params, reason=reason)  # type: ignore[arg-type]
        if detectors:
            record = record.replace(spec=DetectorSpec().to_json(), recipe=Recipe().to_json())
        if state != "failed":
            record = record.replace(values=values, epochs=4, rungs=(Rung(1, {"ap": 0.1}), Rung(4, values)))
        if intervals:
            noise = np.random.default_rng(number).normal(0, 0.2, 200)
            write_resamples(store.trial_dir(record.trial), {"ap": values["ap"] + noise})
        store.put(record)
    return store


def test_everything_is_on_the_page_and_beside_it(tmp_path: Path) -> None:
    store = made(tmp_path / NASTY.replace("/", "_"))
    best, values = summarise(store).front[0].trial, summarise(store).front[0].values
    pictures = Pictures([b"true"], {best: [b"found"]})
    files = write_report(Report.of(store, pictures), tmp_path / "out")
    text = files[0].read_text(encoding="utf-8")
    for words in ("The question", "The answer", "Progress", "What mattered", "All candidates", "What did not make it"):
        assert f"<h2>{words}</h2>" in text
    assert "1 h 01 min from start to end" in text and "nasdet export" in text and f"<h4>{best}: best AP</h4>" in text
    assert f'<p class="v">ap {values["ap"]:.3g}, latency_ms {values["latency_ms"]:.3g} ms</p>' in text
    assert text.count("data:image/jpeg;base64") == 2 and 'class="net"' in text and 'class="curve"' in text
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="https?:', text)
    names = {f.name for f in files}
    drawn = {f"{n}.png" for n in ("pareto", "hypervolume", "importance", "parallel")}
    tables = {f"{n}.csv" for n in ("trials", "front", "effort", "reasons", "hypervolume", "importance")}
    assert names == {PAGE, "summary.json"} | drawn | tables
    with (tmp_path / "out" / "front.csv").open(newline="") as file:
        assert {row["pareto"] for row in csv.DictReader(file)} == {"true"}


def test_what_a_study_says_is_text_and_no_markup(tmp_path: Path) -> None:
    pictures = Pictures(note=f"No pictures {NASTY}")
    text = write_report(Report.of(made(tmp_path / "made"), pictures), tmp_path / "out")[0].read_text(encoding="utf-8")
    assert NASTY not in text and "<script>alert" not in text
    for place in ("broken", "dog", "No pictures"):  # a trial's reason, a class, a note
        assert f"{place} &lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in text
    blocks = re.findall(r'<script type="application/json" id="(\w+)-data">(.*?)</script>', text)
    figures = {name: json.loads(data) for name, data in blocks}
    assert set(figures) == {"front", "hypervolume", "importance", "parallel"}
    labels = [d["label"] for d in figures["parallel"]["data"][0]["dimensions"]]
    assert labels[:2] == ["ap", "latency_ms"] and set(labels[2:]) == {"x", "kind", "depth"}


def test_few_trials_of_a_function(tmp_path: Path) -> None:
    files = write_report(Report.of(made(tmp_path / "few", 5, detectors=False), Pictures()), tmp_path / "out")
    text = files[0].read_text(encoding="utf-8")
    assert "importance needs 10 trials trained in full, there are 3" in text and 'class="net"' not in text
    assert "nasdet export" not in text and "importance.csv" not in {f.name for f in files}


def test_the_random_search_with_the_same_budget(tmp_path: Path) -> None:
    store = made(tmp_path / "made")
    baseline = create_baseline(store, "")
    for number, record in enumerate(store.records()[5:15]):
        baseline.put(record.replace(number=number))
    report = Report.of(store, Pictures())
    files = write_report(report, tmp_path / "out")
    text = files[0].read_text(encoding="utf-8")
    assert escape(compare_curves(report.curves)) in text and 'id="curves"' in text
    with (tmp_path / "out" / "curves.csv").open(newline="") as file:
        assert {row["search"] for row in csv.DictReader(file)} == {"this search", "random search"}


def test_no_front_yet(tmp_path: Path) -> None:
    text = write_report(Report.of(made(tmp_path / "none", 1), Pictures()), tmp_path / "out")[0].read_text()
    assert "so there is no front" in text


def test_members_that_cannot_be_told_apart_are_hollow(tmp_path: Path) -> None:
    report = Report.of(made(tmp_path / "spread", intervals=True), Pictures())
    unclear = report.view.unclear()
    assert unclear and unclear <= {r.trial for r in report.view.front}
    text = write_report(report, tmp_path / "out")[0].read_text()
    assert "circle-open" in text and "Not told apart on these images" in text
