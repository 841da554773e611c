"""Records of a small study, without training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from nasdet.analysis.front_history import Curve, hypervolume_history
from nasdet.analysis.plots.front_view import Axis, FrontView
from nasdet.data import Dataset, default_cache_root, eval_loader, open_data
from nasdet.driver.inference.evaluate import predict_bundle
from nasdet.evaluation import Predictions
from nasdet.export import Bundle, write_bundle
from nasdet.models import Targets, build_detector
from nasdet.pareto import front
from nasdet.search import StudyStore
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.study_summary import Summary
from nasdet.trial import TrialRecord
from tests.analysis.made_study import NASTY, made_study
from tests.trainers.conftest import tiny_recipe, tiny_spec

AXES = (Axis("ap", "max"), Axis("latency_ms", "min"), Axis("params_m", "min"))
REFERENCE = [0.0, 20.0, 10.0]
CURVES = (
    Curve("this search", (0.0, 9.0, 12.0), (0.0, 1.0, 1.5), (0.0, 2.0, 2.0)),
    Curve("random search", (0.0, 9.0), (0.0, 1.0), (0.0, 1.0)),
)
ROWS: list[tuple[Any, float, float, float]] = [
    ("complete", 0.50, 10.0, 2.0),
    ("complete", 0.30, 4.0, 1.0),
    ("complete", 0.25, 6.0, 3.0),
    ("stopped", 0.40, 3.0, 1.0),
    ("failed", 0.0, 0.0, 0.0),
    ("complete", 0.20, 8.0, 0.5),
]


@pytest.fixture
def records() -> list[TrialRecord]:
    return [
        TrialRecord(
            f"t{i}",
            i,
            state,
            {"recipe.base_lr": 0.01, f"own.{i}": i},
            spec=DetectorSpec().to_json(),
            recipe=Recipe().to_json(),
            values={} if state == "failed" else {"ap": ap, "latency_ms": ms, "params_m": params},
            epochs=12 if state == "complete" else 3,
            reason="out of memory, at 1 < 2" if state == "failed" else "",
            train_seconds=10.0,
        )
        for i, (state, ap, ms, params) in enumerate(ROWS)
    ]


@pytest.fixture
def summary(records: list[TrialRecord]) -> Summary:
    states = ("complete", "stopped", "failed", "paused", "running", "infeasible", "duplicate")
    counts = {s: sum(r.state == s for r in records) for s in states}
    values = {
        "study": "digits-1",
        "space": "<detnet>",
        "data": "digits",
        "seed": 3,
        "wall_seconds": 0.0,
        "objectives": [{"name": a.name, "direction": a.direction} for a in AXES],
        "trials": {"total": len(records), **counts},
        "reference_point": REFERENCE,
        "hypervolume": 12.5,
        "front": [{"trial": r.trial, "values": r.values} for r in front(records, AXES)],
    }
    return Summary.from_json(values)


@pytest.fixture
def view(records: list[TrialRecord], summary: Summary) -> FrontView:
    return FrontView.of(summary, records, hypervolume_history(records, AXES, REFERENCE))


@pytest.fixture
def axes() -> tuple[Axis, ...]:
    return AXES


@pytest.fixture
def reference() -> list[float]:
    return REFERENCE


def digits_bundle_in(folder: Path) -> Bundle:
    """A tiny detector after 32 steps on the validation images of the digits, in a bundle that says so."""
    torch.manual_seed(0)
    dataset, detector = open_data("digits"), build_detector(tiny_spec())
    pixels = dataset.cached("val", 64, 64)
    optimizer = torch.optim.AdamW(detector.parameters(), 4e-3)
    for _ in range(2):
        for batch in eval_loader(pixels, batch_size=10, fill=(60.0,)):
            loss = detector(batch.images, Targets(batch.boxes, batch.labels))["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    card = {"data": "digits", "data_seed": 0, "epochs": 2}
    return write_bundle(
        folder,
        spec=detector.spec,
        recipe=tiny_recipe(),
        state_dict=detector.state_dict(),
        classes=dataset.info.classes,
        card=card,
    )


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyStore:
    """A stored study, to be read only."""
    return made_study(tmp_path_factory.mktemp("studies") / NASTY.replace("/", "_"))


@pytest.fixture(scope="session")
def few_digits() -> Dataset:
    """The digits with the first 40 of their validation images alone."""
    digits = open_data("digits")
    info = dataclasses.replace(digits.info, fingerprint="few")
    return Dataset(info, {"val": digits.images("val")[:40]}, default_cache_root(), alpha=False)


@pytest.fixture(scope="session")
def found_digits(digits_bundle: Bundle, few_digits: Dataset) -> Predictions:
    """What the tiny detector finds in them."""
    return predict_bundle(digits_bundle, few_digits, "val")


@pytest.fixture(scope="session")
def digits_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return digits_bundle_in(tmp_path_factory.mktemp("bundles") / "digits")
