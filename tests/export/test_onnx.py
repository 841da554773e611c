"""`model.onnx` is kept only if it gives PyTorch's boxes and scores."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from nasdet.errors import InputError, NasdetError
from nasdet.export import onnx
from nasdet.export.onnx import EXTRA, compare, export_onnx
from nasdet.models import Detector, build_detector
from nasdet.space.presets import SYSTEMS, tiny_spec

needs_extra = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in EXTRA), reason="the onnx extra is not installed"
)


@needs_extra
def test_export_agrees_and_a_wrong_file_is_not_kept(
    detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.randint(0, 256, (3, 2, 64, 96), dtype=torch.uint8)
    check = export_onnx(detector, images, tmp_path / "model.onnx")
    assert check.images == 3 and check.box_pixels < 0.01 and check.score < 1e-5
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]

    with torch.no_grad():  # the same file is not that of other weights
        next(detector.head.parameters()).add_(0.5)
    assert compare(detector, images.float(), tmp_path / "model.onnx").score > onnx.SCORE_TOLERANCE

    monkeypatch.setattr(onnx, "SCORE_TOLERANCE", -1.0)
    with pytest.raises(NasdetError, match=r"differs from PyTorch .* and was not kept"):
        export_onnx(detector, images, tmp_path / "other.onnx")
    assert not list(tmp_path.glob("other*"))


def test_two_stages_are_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "EXTRA", ())
    detector = build_detector(tiny_spec(SYSTEMS["faster_rcnn_r50_fpn"])).eval()
    with pytest.raises(InputError, match=r"the head rcnn is not exported to ONNX"):
        export_onnx(detector, torch.zeros(1, 3, 96, 96), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "EXTRA", ("onnx_that_nobody_has",))
    with pytest.raises(InputError, match=r"--onnx needs onnx_that_nobody_has; pip install 'nasdet\[onnx\]'"):
        onnx.check_onnx_extra()
