"""Suppression in ONNX is that of `Detector.detect`, on every head that is exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nasdet.models import Candidates, Detector, build_detector, suppress
from nasdet.space.presets import SYSTEMS, tiny_spec

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from nasdet.export.export_onnx import open_session, write_onnx
from nasdet.export.onnx_nms import add_suppression


@pytest.mark.parametrize("system", ["ssd300_vgg16", "retinanet_r50_fpn", "fcos_r50_fpn"])
def test_every_head(system: str, tmp_path: Path) -> None:
    check(build_detector(tiny_spec(SYSTEMS[system])).eval(), tmp_path)


def test_rows_are_detections_best_first(sure: Detector, tmp_path: Path) -> None:
    boxes, labels, scores = check(sure, tmp_path)
    assert boxes.shape == (3, 100, 4) and labels.dtype == torch.int64
    assert (scores.diff(dim=1) <= 0).all()
    assert ((labels == -1) == (scores == 0)).all() and (boxes[labels == -1] == 0).all()


def check(detector: Detector, folder: Path) -> tuple[torch.Tensor, ...]:
    """Outputs of the file, which are those of PyTorch's suppression on the same candidates."""
    size = detector.spec.input
    images = torch.rand(3, size.channels, size.height, size.width) * 255
    write_onnx(detector, folder / "model.onnx")
    feed = {"images": images.numpy()}
    raw = Candidates(*map(torch.from_numpy, open_session(folder / "model.onnx").run(["boxes", "scores"], feed)))
    add_suppression(folder / "model.onnx", detector.spec, raw.boxes.shape[1], folder / "model_nms.onnx")
    given = open_session(folder / "model_nms.onnx").run(["boxes", "labels", "scores"], feed)
    boxes, labels, scores = map(torch.from_numpy, given)
    for i, own in enumerate(suppress(raw, (size.height, size.width), detector.spec.head.nms_iou)):
        count = int((scores[i] > 0).sum())
        assert count == len(own.scores) > 0
        torch.testing.assert_close(scores[i, :count], own.scores)
        top = own.scores.unique().flip(0)[:5]  # equal scores come in any order
        for score in top[[int((own.scores == s).sum()) == 1 for s in top]]:
            mine, its = int((own.scores == score).nonzero()[0]), int((scores[i] == score).nonzero()[0])
            torch.testing.assert_close(boxes[i, its], own.boxes[mine], atol=1e-3, rtol=0)
            assert labels[i, its] == own.labels[mine]
    return boxes, labels, scores
