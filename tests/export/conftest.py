"""A tiny detector with statistics that are not the initial ones, and its bundle."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from nasdet.export import Bundle, write_bundle
from nasdet.models import Detector, build_detector
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.heads import TaskAlignedSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.specs import DetectorSpec, InputSpec, NormSpec, Recipe

CLASSES = ["cell", "plate<let>", "ring"]
CARD = {
    "study": "s",
    "trial": "t7",
    "data": "my data",
    "epochs": 12,
    "latency": {"device": "cpu", "batch": 1, "threads": 2},
    "values": {"ap": 0.4321, "latency_ms": 3.25},
}


def make_spec() -> DetectorSpec:
    return DetectorSpec(
        input=InputSpec(height=64, width=96, channels=2, mean=(90.0, 110.0), std=(50.0, 60.0)),
        backbone=StagedSpec(
            stem_width=8, stages=(StageSpec(width=8, stride=1), StageSpec(width=16), StageSpec(width=16))
        ),
        neck=PyramidSpec(width=16),
        head=TaskAlignedSpec(classes=3, width=16, depth=1, bins=4),
        norm=NormSpec(kind="bn"),
    )


def make_detector(spec: DetectorSpec) -> Detector:
    torch.manual_seed(0)
    detector = build_detector(spec).train()
    with torch.no_grad():
        for _ in range(3):
            detector(torch.rand(4, 2, 64, 96) * 255)
    return detector.eval()


@pytest.fixture(scope="session")
def trained() -> Detector:
    return make_detector(make_spec())


@pytest.fixture
def detector(trained: Detector) -> Detector:
    """A copy that a test may change."""
    return copy.deepcopy(trained)


@pytest.fixture
def bundle(trained: Detector, tmp_path: Path) -> Bundle:
    return write_bundle(
        tmp_path / "out" / "bundle",
        spec=trained.spec,
        recipe=Recipe(epochs=7),
        state_dict=trained.state_dict(),
        classes=CLASSES,
        card=CARD,
    )


@pytest.fixture
def sure(detector: Detector) -> Detector:
    """The same with scores well above 0."""
    with torch.no_grad():
        for name, parameter in detector.head.named_parameters():
            if parameter.ndim == 1 and parameter.shape[0] == 3:
                parameter.add_(4.0)
                assert "cls" in name
    return detector
