"""How long the pages of a study of 1,000 trials take: report, front, and opening the report in a browser.

    python benchmarks/report_speed.py --json          1 minute

The records are stored as a search stores them, with parameters sampled from a real space and the specifications built
from them. Only the values come from a formula, since nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nasdet.study_config import StudyConfig

OPEN = "performance.getEntriesByType('navigation')[0].loadEventEnd"
REASONS = ("out of memory", "loss is nan")


def make_study(folder: Path, trials: int) -> None:
    """A finished study of `trials` records, of which a third are stopped early and a few have failed."""
    from nasdet.data import open_data
    from nasdet.search import StudyStore
    from nasdet.space import build_specs, load_space
    from nasdet.trial import Rung, TrialRecord

    space, info, rng = load_space("detnet"), open_data("digits").info, random.Random(0)
    reference = (0.0, 10.0, 5.0)
    config = StudyConfig(study=folder.name, data="digits", classes=info.classes, reference_point=reference)
    store = StudyStore.create(folder, config.replace(wall_seconds=40.0 * trials, finished=True), space)
    while len(store.records()) < trials:
        params, number = space.sample(rng), len(store.records())
        built = build_specs(space, params, info)
        record = TrialRecord(f"t{number:04d}", number, "infeasible", params, reason=built.infeasible)
        if built.spec is not None and built.recipe is not None:
            state = rng.choices(("complete", "stopped", "failed"), (0.62, 0.35, 0.03))[0]
            epochs = 8 if state == "complete" else 2
            rungs = [Rung(e, _values(params, e, rng)) for e in (2, 4, 8) if e <= epochs]
            changes: dict[str, Any] = {"values": rungs[-1].values, "epochs": epochs, "rungs": tuple(rungs)}
            if state == "failed":
                changes = {"reason": rng.choice(REASONS)}
            spec, recipe = built.spec.to_json(), built.recipe.to_json()
            record = record.replace(state=state, reason="", spec=spec, recipe=recipe, train_seconds=4.0 * epochs)
            record = record.replace(**changes)
        store.put(record)


def _values(params: dict[str, Any], epochs: int, rng: random.Random) -> dict[str, float]:
    """Values after this number of epochs, by a formula in the parameters."""
    size = 0.002 * params["backbone.width"] * (1 + params["backbone.stages.2.depth"]) * params["backbone.growth"]
    ap = 0.9 * (1 - 2.0 ** (-epochs / 3)) * size / (size + 0.1) - abs(params["recipe.base_lr"] - 0.003) * 20
    latency = 8 * size + 0.02 * params["neck.width"]
    noisy = {"ap": max(ap + rng.gauss(0, 0.02), 0.0), "latency_ms": latency * rng.uniform(0.9, 1.1)}
    return {**noisy, "ap50": min(noisy["ap"] * 1.2, 1.0), "params_m": size, "gflops": size / 3}


def seconds(*arguments: str) -> float:
    """How long one `nasdet` command takes, from its start as a user starts it."""
    start = time.monotonic()
    command = [sys.executable, "-c", "from nasdet.cli.main import main; main()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.monotonic() - start


def measure(trials: int) -> dict[str, Any]:
    """Make a study and time what is made of it; `open_seconds` is null without a Chromium."""
    from benchmarks.browser import Browser, find_chromium

    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder, "thousand")
        make_study(study, trials)
        seconds("pareto", str(study))  # the first start after an installation compiles
        result: dict[str, Any] = {
            "trials": trials,
            "pareto_seconds": seconds("pareto", str(study)),
            "report_seconds": seconds("analyze", str(study), "--what", "report"),
            "open_seconds": None,
        }
        page = study / "report" / "report.html"
        result["megabytes"] = round(page.stat().st_size / 1e6, 1)
        if find_chromium():
            with Browser() as browser:
                browser.open(page.as_uri())
                result["open_seconds"] = browser.evaluate(OPEN) / 1000
        return result


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--keep", type=Path, help="only make the study, in this folder")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    if options.keep:
        shutil.rmtree(options.keep, ignore_errors=True)
        make_study(options.keep, options.trials)
        return
    result = measure(options.trials)
    print(json.dumps(result, indent=1) if options.json else "\n".join(f"{k:<16} {v}" for k, v in result.items()))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
