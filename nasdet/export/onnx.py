"""`model.onnx`: the detector outside PyTorch. One decision: a file that does not give PyTorch's own boxes and scores on
real images is not kept."""

from __future__ import annotations

import dataclasses
import importlib.util
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nasdet.errors import InputError, NasdetError
from nasdet.models.fold import fold_norms

if TYPE_CHECKING:
    from nasdet.models import Detector

BOX_TOLERANCE = 0.5  # pixels
SCORE_TOLERANCE = 1e-3
NOT_EXPORTED = ("rcnn",)  # heads whose number of proposals depends on the image
EXTRA = ("onnx", "onnxruntime", "onnxscript")


@dataclasses.dataclass(frozen=True)
class OnnxCheck:
    """Largest differences between ONNX Runtime and PyTorch."""

    images: int
    box_pixels: float
    score: float


def check_onnx_extra() -> None:
    """Raise `InputError` if the packages of the `onnx` extra are missing."""
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"--onnx needs {', '.join(missing)}", remedy="pip install 'nasdet[onnx]'")


def export_onnx(detector: Detector, images: Tensor, path: Path) -> OnnxCheck:
    """Write the detector with norms folded and a free batch size, and compare it with PyTorch.

    Args:
        detector: in evaluation mode, on the CPU.
        images: (N, C, H, W) real images in stored units, at least one.
        path: file to write; removed again if the check fails.

    Raises:
        InputError: the onnx extra is not installed, or the detector has two stages.
        NasdetError: the file's boxes or scores differ by more than 0.5 pixels or 1e-3.
    """
    check_onnx_extra()
    if detector.spec.head.kind in NOT_EXPORTED:
        raise InputError(
            f"a detector with the head {detector.spec.head.kind} is not exported to ONNX: it suppresses boxes inside",
            remedy="leave --onnx out; the bundle itself predicts",
        )
    images = images.float().contiguous()
    model = fold_norms(detector)
    part = path.with_suffix(".part.onnx")
    try:
        # Two images: a batch of one would be fixed as a constant.
        _write(model, images[:1].repeat(2, 1, 1, 1), part)
        check = compare(detector, images, part)
        if check.box_pixels > BOX_TOLERANCE or check.score > SCORE_TOLERANCE:
            difference = f"boxes by {check.box_pixels:.3g} pixels, scores by {check.score:.3g}"
            raise NasdetError(f"model.onnx differs from PyTorch ({difference}) and was not kept")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return check


def compare(detector: Detector, images: Tensor, path: Path) -> OnnxCheck:
    """Run ONNX Runtime and PyTorch on the same images, one by one and all at once."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    box = score = 0.0
    with torch.no_grad():
        for batch in (images, *images.split(1)):
            boxes, scores = detector(batch)
            given = session.run(["boxes", "scores"], {"images": batch.numpy()})
            box = max(box, float((boxes - torch.from_numpy(given[0])).abs().max()))
            score = max(score, float((scores - torch.from_numpy(given[1])).abs().max()))
    return OnnxCheck(len(images), box, score)


def _write(model: nn.Module, example: Tensor, path: Path) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example,),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=["images"],
            output_names=["boxes", "scores"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
        )
