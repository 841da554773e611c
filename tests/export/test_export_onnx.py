"""The ONNX files are kept only if they give PyTorch's boxes and scores."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from nasdet.errors import InputError, NasdetError
from nasdet.export import export_onnx as onnx
from nasdet.export.export_onnx import EXTRA, check_files, compare, compare_found, export_onnx, open_session
from nasdet.models import Detections, Detector, build_detector, suppress
from nasdet.space.presets import SYSTEMS, tiny_spec

needs_extra = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in EXTRA), reason="the onnx extra is not installed"
)


@needs_extra
def test_export_agrees_and_a_wrong_file_is_not_kept(
    sure: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.randint(0, 256, (3, 2, 64, 96), dtype=torch.uint8)
    check = export_onnx(sure, images, tmp_path)
    assert check.images == 3 and check.box_pixels < 0.01 and check.score < 1e-4
    assert check.detections > 30 and check.ms > 0 and check.threads == torch.get_num_threads()
    assert {p.name for p in tmp_path.iterdir()} == {"model.onnx", "model_nms.onnx"}

    raw, final = tmp_path / "model.onnx", tmp_path / "again.onnx"
    with monkeypatch.context() as patch:  # a box that PyTorch does not find counts like one that is missing
        patch.setattr(onnx, "TIMED_SECONDS", 0.0)
        patch.setattr(onnx, "suppress", lambda *arguments: [d.taken(slice(1, None)) for d in suppress(*arguments)])
        assert check_files(sure, images.float(), raw, final).score > onnx.COMPARED_SCORE

    session = open_session(tmp_path / "model.onnx")
    with torch.no_grad():  # the same file is not that of other weights
        next(sure.head.parameters()).add_(0.5)
    assert compare(sure, images.float(), session)[1] > onnx.SCORE_TOLERANCE

    monkeypatch.setattr(onnx, "SCORE_TOLERANCE", -1.0)
    (tmp_path / "other").mkdir()
    with pytest.raises(NasdetError, match=r"differs from PyTorch .* and was not kept"):
        export_onnx(sure, images, tmp_path / "other")
    assert not list((tmp_path / "other").iterdir())


def test_boxes_that_one_side_lacks_count_with_their_score() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]])
    own = Detections(boxes, torch.tensor([0.9, 0.4]), torch.tensor([1, 0]))
    moved = Detections(boxes + 0.25, own.scores - 0.0005, own.labels)
    assert compare_found(own, moved) == pytest.approx((0.25, 0.0005), abs=1e-6)
    assert compare_found(own, Detections(*(column[:1] for column in own[:3])))[1] == pytest.approx(0.4)
    assert compare_found(own, own._replace(labels=torch.tensor([0, 0])))[1] == pytest.approx(0.9)
    assert compare_found(own, own._replace(boxes=boxes + 1))[1] == pytest.approx(0.9)


def test_two_stages_are_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "EXTRA", ())
    detector = build_detector(tiny_spec(SYSTEMS["faster_rcnn_r50_fpn"])).eval()
    with pytest.raises(InputError, match=r"the head rcnn is not exported to ONNX"):
        export_onnx(detector, torch.zeros(1, 3, 96, 96), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "EXTRA", ("onnx_that_nobody_has",))
    with pytest.raises(InputError, match=r"--onnx needs onnx_that_nobody_has; pip install 'nasdet\[onnx\]'"):
        onnx.check_onnx_extra()
