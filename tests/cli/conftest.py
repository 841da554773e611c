"""A stored study of three complete trials with weights, made without training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nasdet.models import build_detector
from nasdet.search import StudyStore
from nasdet.space import load_space
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.heads import TaskAlignedSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.specs import DetectorSpec, InputSpec, Recipe
from nasdet.study_config import StudyConfig
from nasdet.trial import TrialRecord

SPEC = DetectorSpec(
    input=InputSpec(height=96, width=96, channels=1),
    backbone=StagedSpec(stem_width=8, stages=(StageSpec(width=8, stride=1), StageSpec(width=16), StageSpec(width=16))),
    neck=PyramidSpec(width=16),
    head=TaskAlignedSpec(classes=10, width=16, depth=1, bins=4),
)
VALUES = [(0.5, 9.0, 2.0, 1.0), (0.3, 4.0, 1.0, 0.5), (0.2, 6.0, 1.5, 0.7)]


@pytest.fixture
def stored(tmp_path: Path) -> StudyStore:
    torch.manual_seed(0)
    space = load_space("detnet")
    names = [o.name for o in space.objectives]
    reference = [{"ap": 0.0, "ap50": 0.0, "latency_ms": 20.0, "params_m": 10.0, "gflops": 10.0}[n] for n in names]
    config = StudyConfig(study="made-1", data="digits", reference_point=reference, wall_seconds=60.0)
    store = StudyStore.create(tmp_path / "studies" / "made-1", config, space)
    for number, (ap, latency, params, gflops) in enumerate(VALUES):
        values = {"ap": ap, "ap50": 2 * ap, "latency_ms": latency, "params_m": params, "gflops": gflops}
        record = TrialRecord(
            f"t{number}", number, "complete", {}, SPEC.to_json(), Recipe().to_json(), values, epochs=12
        )
        store.put(record)
    path = store.checkpoint("t0")
    path.parent.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in build_detector(SPEC).state_dict().items()}, path)
    return store
