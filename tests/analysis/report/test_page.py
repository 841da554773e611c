"""What stands on the page, from a stored study."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from markupsafe import escape

from nasdet.analysis.findings import findings
from nasdet.analysis.front_history import compare_curves
from nasdet.analysis.report.content import Pictures, Report
from nasdet.analysis.report.page import _device, page
from nasdet.search import StudyStore, open_study, summarise
from nasdet.search.records.baseline import ready_baseline
from nasdet.space.yaml_document import dump_yaml
from nasdet.study_config import ResourcePlan
from tests.analysis.made_study import NASTY, made_study


@pytest.fixture(scope="module")
def text(study: StudyStore) -> str:
    best = summarise(study).front[0].trial
    return page(Report.of(study, Pictures([b"true"], {best: [b"found"]}, f"Pictures of one {NASTY}")))


def test_everything_is_on_the_page(study: StudyStore, text: str) -> None:
    best = summarise(study).front[0]
    for words in ("The question", "The answer", "Progress", "What mattered", "All candidates", "What did not make it"):
        assert f"<h2>{words}</h2>" in text
    assert "1 h 01 min from start to end" in text and "nasdet export" in text
    assert f"<h4>{best.trial}: best AP</h4>" in text
    assert f'<p class="v">ap {best.values["ap"]:.3g}, latency_ms {best.values["latency_ms"]:.3g} ms</p>' in text
    assert f"The best ap is <b>{best.values['ap']:.3g}</b> ({best.trial})." in text
    found = findings(study.records(), study.space)
    assert found and all(f"<li>{escape(sentence)}</li>" in text for sentence in found)
    assert f"<pre>{escape(dump_yaml(study.space.raw))}</pre>" in text
    assert text.count("data:image/jpeg;base64") == 2 and 'class="net"' in text and 'class="curve"' in text
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="https?:', text)


def test_what_a_study_says_is_text_and_no_markup(text: str) -> None:
    assert NASTY not in text and "<script>alert" not in text
    for place in ("broken", "dog", "Pictures of one"):  # a trial's reason, a class, a note
        assert f"{place} &lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in text
    blocks = re.findall(r'<script type="application/json" id="(\w+)-data">(.*?)</script>', text)
    figures = {name: json.loads(data) for name, data in blocks}
    assert set(figures) == {"front", "hypervolume", "importance", "parallel"}
    labels = [d["label"] for d in figures["parallel"]["data"][0]["dimensions"]]
    assert labels[:2] == ["ap", "latency_ms"] and set(labels[2:]) == {"x", "kind", "depth"}


def test_few_trials_of_a_function(tmp_path: Path) -> None:
    few = page(Report.of(made_study(tmp_path / "few", 5, detectors=False), Pictures()))
    assert "importance needs 10 trials trained in full, there are 3" in few and 'class="net"' not in few
    assert "nasdet export" not in few and 'id="importance"' not in few


def test_the_random_search_with_the_same_budget(study: StudyStore, tmp_path: Path) -> None:
    store = open_study(shutil.copytree(study.dir, tmp_path / "made"))
    baseline = ready_baseline(store, "")
    for number, record in enumerate(store.records()[5:9]):
        baseline.put(record.replace(number=number))
    report = Report.of(store, Pictures())
    text = page(report)
    assert escape(compare_curves(report.curves)) in text and 'id="curves"' in text


def test_no_front_yet(tmp_path: Path) -> None:
    assert "so there is no front" in page(Report.of(made_study(tmp_path / "none", 1), Pictures()))


def test_members_that_cannot_be_told_apart_are_hollow(tmp_path: Path) -> None:
    report = Report.of(made_study(tmp_path / "spread", 12, intervals=True), Pictures())
    unclear = report.view.unclear()
    assert unclear and unclear <= {r.trial for r in report.view.front}
    text = page(report)
    assert "circle-open" in text and f"Not told apart on these images: {', '.join(sorted(unclear))}" in text


def test_the_device_is_said_in_words() -> None:
    assert _device(ResourcePlan("cpu", 1, 2, 1)) == "cpu, 2 candidates at a time, each with 1 worker of 1 thread"
    assert (
        _device(ResourcePlan("cuda", 8, 1, 4, gpu="A100")) == "A100, 1 candidate at a time, with 8 workers of 4 threads"
    )
