"""A stored study with made-up results, whose names try to be markup."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from nasdet.evaluation import write_resamples
from nasdet.search import StudyStore
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


def made_study(folder: Path, trials: int = 24, *, detectors: bool = True, intervals: bool = False) -> StudyStore:
    classes, reference = ("cat", f"dog {NASTY}"), (0.0, 12.0)
    config = StudyConfig(study=folder.name, data="digits", classes=classes, reference_point=reference)
    config = config.replace(wall_seconds=3700.0)
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
