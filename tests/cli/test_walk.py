"""A person's way through what a search leaves: MLflow's pages and the report, in a real browser.

What is asserted is text that the browser shows. `NASDET_SCREENSHOTS` names a folder that gets a picture of each step.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.browser import Browser, find_chromium
from nasdet.search import StudyStore, open_study, summarise

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(500),
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed"),
]
SPACE = """
name: formula
space:
  width: {kind: int, low: 8, high: 128, log: true}
  depth: {kind: int, low: 1, high: 12}
  lr: {kind: float, low: 0.0001, high: 0.1, log: true}
  norm: {kind: choice, values: [batch, group, none]}
objectives:
  - {name: ap, direction: max}
  - {name: latency_ms, direction: min}
budget: {trials: 30, epochs: 9, rungs: [1, 3, 9], seed: 3}
"""
FUNCTION = """
import math

def evaluate(params, epochs):
    size = params["width"] * params["depth"] ** 0.7
    tuned = 1 - 0.1 * abs(math.log10(params["lr"] / 0.004)) - 0.15 * (params["norm"] == "none")
    return {"ap": 0.7 * tuned * size / (size + 60) * (1 - 0.5 / epochs), "latency_ms": 1 + 0.03 * size}
"""
NASDET = [sys.executable, "-c", "from nasdet.cli.main import main; main()"]
FRONT_POINTS = "[...document.querySelectorAll('.scatterlayer .trace:nth-of-type(3) .points path')]"
TOP_TRIAL = """[...document.querySelectorAll('a')].filter(e => /^t[0-9]+$/.test(e.innerText.trim()))
    .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)[0].innerText.trim()"""
HOVERED = "[...document.querySelectorAll('.hoverlayer text')].map(e => e.textContent).join(' ')"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyStore:
    """A search over a function, with its baseline and its report, by the commands that a user types."""
    folder = tmp_path_factory.mktemp("walk")
    (folder / "space.yaml").write_text(SPACE)
    (folder / "formula.py").write_text(FUNCTION)
    search = ["search", "space.yaml", "--objective", "formula:evaluate", "--study", "studies/formula-1"]
    for arguments in ([*search, "--baseline", "random"], ["analyze", "studies/formula-1", "--what", "report"]):
        done = subprocess.run([*NASDET, *arguments], cwd=folder, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
    return open_study(folder / "studies" / "formula-1")


@contextmanager
def served(study: StudyStore) -> Iterator[str]:
    """`nasdet ui` while the block runs; gives the address that it prints."""
    command = [*NASDET, "ui", str(study.dir), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["page"]
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0


def labelled(kind: str, text: str) -> str:
    """The innermost element of a kind that shows exactly this text, as JavaScript."""
    found = f"[...document.querySelectorAll({kind!r})].filter(e => (e.innerText || '').trim() === {text!r})"
    return f"{found}.pop()"


def keep(browser: Browser, name: str) -> None:
    """A picture, if a folder for it is named."""
    if folder := os.environ.get("NASDET_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        browser.screenshot(Path(folder, f"{name}.png"))


def test_from_the_experiment_to_a_point_of_the_front(study: StudyStore) -> None:
    best = summarise(study).front[0]
    with served(study) as page, Browser(1400, 960) as browser:
        browser.open(page)
        browser.wait(f"document.body.innerText.includes({study.name!r})")
        browser.click(*browser.place("document.querySelector('button[aria-label=Close]')"))  # MLflow's assistant
        assert "GenAI" in browser.text() and "Evaluation runs" not in browser.text()  # the pages of model training

        browser.click(*browser.place("document.querySelector('button[aria-label^=Sort]')"))
        browser.click(*browser.place(labelled("[role=menuitemcheckbox]", "ap")))
        assert browser.wait(f"{TOP_TRIAL} === {best.trial!r}")
        keep(browser, "runs")

        browser.click(*browser.place(labelled("a", study.name)))
        browser.wait("document.body.innerText.includes('Search of formula')")
        text = browser.text()
        assert f"{len(summarise(study).front)} on the front" in text and "nasdet resume" in text
        assert f"{best.trial}\t{best.values['ap']:.4g}" in text
        keep(browser, "study")

        browser.click(*browser.place(labelled("[role=tab]", "Artifacts")))
        browser.click(*browser.place(labelled("*", "pareto.html")))
        x, y = browser.wait(f"(() => {{ const r = {FRONT_POINTS}[0].getBoundingClientRect();"
                            " return [r.x + r.width / 2, r.y + r.height / 2]; })()", "blob:")  # fmt: skip
        left, top = browser.evaluate(
            "(() => { const r = document.querySelector('iframe').getBoundingClientRect(); return [r.x, r.y]; })()"
        )
        browser.move(left + x, top + y)
        card = browser.wait(HOVERED, "blob:")
        assert card.startswith(f"{best.trial}  Pareto front, 9 epochs") and f"ap {best.values['ap']:.4g}" in card
        keep(browser, "pareto")


def test_the_report_answers_the_pointer(study: StudyStore) -> None:
    front = summarise(study).front
    with Browser(1280, 900) as browser:
        browser.open((study.dir / "report" / "report.html").as_uri())
        assert f"The best ap is {front[0].values['ap']:.3g} ({front[0].trial})." in browser.text()
        x, y = browser.place(f"{FRONT_POINTS}[1]")
        browser.move(x, y)
        card = browser.wait("!pop.hidden && pop.innerText")
        assert card.startswith(front[1].trial) and "norm = " in card and "ap over epochs" in card
        keep(browser, "report")
        assert browser.evaluate("document.getElementById('card-1').getBoundingClientRect().top > innerHeight")
        browser.click(x, y)
        browser.wait("(r => r.top >= 0 && r.bottom <= innerHeight)"
                     "(document.getElementById('card-1').getBoundingClientRect())")  # fmt: skip
        assert "Random search reaches" in browser.text()
        for place in ("hypervolume", "curves", "parallel"):
            browser.place(f"document.getElementById('{place}')")
            browser.wait(f"document.querySelector('#{place} .main-svg')")
            keep(browser, place)
