"""A stored study of three complete trials with weights, made without training."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nasdet.export import export_onnx
from nasdet.models import Detector, build_detector
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
    save_file(sure_weights(), path)
    return store


def sure_weights() -> dict[str, torch.Tensor]:
    """Weights of a detector that finds something everywhere."""
    weights = {name: tensor.contiguous() for name, tensor in build_detector(SPEC).state_dict().items()}
    for name in weights:
        if name.startswith("head.cls") and name.endswith("bias") and weights[name].shape == (10,):
            weights[name] += 4.0
            weights[name.replace("bias", "weight")] *= 20.0
    return weights


@pytest.fixture(scope="session")
def onnx_files() -> dict[str, bytes]:
    """The ONNX files that were written already, by the network."""
    return {}


@pytest.fixture(autouse=True)
def _each_network_is_exported_once(onnx_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch takes seconds to export a network; these tests look at what is done with the file."""
    write = export_onnx.write_onnx

    def write_once(detector: Detector, path: Path) -> None:
        tensors = b"".join(tensor.cpu().numpy().tobytes() for tensor in detector.state_dict().values())
        key = hashlib.sha256(detector.spec.model_dump_json().encode() + tensors).hexdigest()
        if key not in onnx_files:
            write(detector, path)
            onnx_files[key] = path.read_bytes()
        path.write_bytes(onnx_files[key])

    monkeypatch.setattr(export_onnx, "write_onnx", write_once)
