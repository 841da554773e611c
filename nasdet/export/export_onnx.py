"""`model.onnx` and `model_nms.onnx`: the detector outside PyTorch, without and with non-maximum suppression. Files that
do not give PyTorch's own boxes and scores on real images are not kept."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nasdet.data import Dataset, eval_loader
from nasdet.errors import InputError, NasdetError
from nasdet.export.bundle import ONNX, ONNX_NMS, Bundle, note_in_card, writing
from nasdet.export.onnx_nms import add_suppression
from nasdet.models import Candidates, Detections, fold_norms, suppress

if TYPE_CHECKING:
    from nasdet.models import Detector
    from nasdet.space.specs import DetectorSpec

BOX_TOLERANCE = 0.5  # pixels
SCORE_TOLERANCE = 1e-3
COMPARED_SCORE = 0.05
"""Suppressed boxes are compared from this score on: below, equal scores decide by chance which of two boxes stays."""
NOT_EXPORTED = ("rcnn",)  # heads whose number of proposals depends on the image
CHECKED_IMAGES = 8
"""Validation images on which the files are compared with PyTorch."""
EXTRA = ("onnx", "onnxruntime", "onnxscript")
TIMED_SECONDS, TIMED_RUNS = 2.0, (5, 100)


@dataclasses.dataclass(frozen=True)
class OnnxCheck:
    """Largest differences between ONNX Runtime and PyTorch, and ONNX Runtime's time."""

    images: int
    box_pixels: float
    score: float
    detections: int
    """Boxes after suppression that were compared."""
    ms: float
    """Median of one image through model_nms.onnx on the CPU."""
    threads: int


def check_onnx_extra(who: str = "--onnx") -> None:
    """Raise `InputError` if the packages of the `onnx` extra, which `who` needs, are missing."""
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"{who} needs {', '.join(missing)}", remedy="pip install 'nasdet[onnx]'")


def check_exportable(spec: DetectorSpec) -> None:
    """Raise `InputError` if this kind of detector is not exported."""
    if spec.head.kind in NOT_EXPORTED:
        raise InputError(
            f"a detector with the head {spec.head.kind} is not exported to ONNX: it suppresses boxes inside",
            remedy="leave --onnx out; the bundle itself predicts",
        )


def add_onnx_files(bundle: Bundle, dataset: Dataset) -> OnnxCheck:
    """Write `model.onnx` and `model_nms.onnx` into a bundle, checked on validation images, and note that in its card.

    Raises: as `export_onnx`.
    """
    image = bundle.spec.input
    split = dataset.cached("val", image.height, image.width)
    batches = eval_loader(split, batch_size=CHECKED_IMAGES, rank=0, world=1, fill=image.mean)
    check = export_onnx(bundle.load_detector(), next(iter(batches)).images, bundle.path)
    note_in_card(bundle, onnx=dataclasses.asdict(check))
    return check


def export_onnx(detector: Detector, images: Tensor, folder: Path) -> OnnxCheck:
    """Write the detector with norms folded and a free batch size, with and without suppression, and check both.

    Args:
        detector: in evaluation mode, on the CPU.
        images: (N, C, H, W) real images in stored units, at least one.
        folder: where `model.onnx` and `model_nms.onnx` are written; neither appears if a check fails.

    Raises:
        InputError: the onnx extra is not installed, the detector has two stages, or the folder cannot be written.
        NasdetError: boxes or scores differ by more than 0.5 pixels or 1e-3.
    """
    check_onnx_extra()
    check_exportable(detector.spec)
    images = images.float().contiguous()
    with (
        writing(folder, "the bundle is kept without these files"),
        tempfile.TemporaryDirectory(prefix=".onnx-", dir=folder) as part,
    ):
        raw, final = Path(part, ONNX), Path(part, ONNX_NMS)
        write_onnx(detector, raw)
        check = check_files(detector, images, raw, final)
        if check.box_pixels > BOX_TOLERANCE or check.score > SCORE_TOLERANCE:
            difference = f"boxes by {check.box_pixels:.3g} pixels, scores by {check.score:.3g}"
            raise NasdetError(f"{ONNX} differs from PyTorch ({difference}) and was not kept")
        raw.replace(folder / ONNX)
        final.replace(folder / ONNX_NMS)
    return check


def write_onnx(detector: Detector, path: Path) -> None:
    """Write `images` (N, C, H, W) float32 -> `boxes` (N, A, 4), `scores` (N, A, K); nothing is checked."""
    size = detector.spec.input
    # Two images: a batch of one would be fixed as a constant.
    example = torch.full((2, size.channels, size.height, size.width), 127.0)
    _write(fold_norms(detector), example, path)


def check_files(detector: Detector, images: Tensor, raw: Path, final: Path) -> OnnxCheck:
    """Compare `raw` with the detector, write `final` from it, and compare and time that.

    Suppression is compared on the same candidates, those of `raw`: they are PyTorch's to within the tolerance, but a
    pair of boxes on the threshold of suppression may fall on either side.
    """
    session, size = open_session(raw), (detector.spec.input.height, detector.spec.input.width)
    candidates = Candidates(*_run(session, images, ("boxes", "scores")))
    differences = [compare(detector, batch, session) for batch in (images, *images.split(1))]
    add_suppression(raw, detector.spec, candidates.boxes.shape[1], final)
    session, compared = open_session(final), 0
    rows = zip(*_run(session, images, ("boxes", "scores", "labels")), strict=True)
    for own, given in zip(suppress(candidates, size, detector.spec.head.nms_iou), rows, strict=True):
        found = Detections(*(column[given[1] > 0] for column in given))
        differences += [compare_found(own, found), compare_found(found, own)]
        compared += int((own.scores >= COMPARED_SCORE).sum())
    box, score = (max(column) for column in zip(*differences, strict=True))
    return OnnxCheck(len(images), box, score, compared, _milliseconds(session, images), torch.get_num_threads())


def compare(detector: Detector, images: Tensor, session: Any) -> tuple[float, float]:
    """Largest differences of boxes, in pixels, and of scores before suppression."""
    with torch.no_grad():
        own = detector(images)
    given = _run(session, images, ("boxes", "scores"))
    box, score = (float((a - b).abs().max()) for a, b in zip(own, given, strict=True))
    return box, score


def compare_found(wanted: Detections, given: Detections) -> tuple[float, float]:
    """Largest differences, in pixels and in score, of the wanted boxes to the nearest given ones of their class; a box
    without any within the tolerance counts with its score."""
    worst_box = worst_score = 0.0
    for box, score, label in zip(wanted.boxes, wanted.scores, wanted.labels, strict=True):
        if score < COMPARED_SCORE:
            break
        same = (given.labels == label) & ((given.boxes - box).abs() <= BOX_TOLERANCE).all(1)
        if not same.any():
            return worst_box, float(score)
        distance = (given.boxes[same] - box).abs().amax(1)
        nearest = distance.argmin()
        worst_box = max(worst_box, float(distance[nearest]))
        worst_score = max(worst_score, float((given.scores[same][nearest] - score).abs()))
    return worst_box, worst_score


def open_session(path: Path, threads: int | None = None) -> Any:
    """ONNX Runtime's session on the CPU, with torch's number of threads unless another is given."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or torch.get_num_threads()
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run(session: Any, images: Tensor, names: Sequence[str]) -> list[Tensor]:
    return [torch.from_numpy(values) for values in session.run(list(names), {"images": images.numpy()})]


def _milliseconds(session: Any, images: Tensor) -> float:
    """Median time of one image after another."""
    times: list[float] = []
    for one in itertools.cycle(images.split(1)):
        start = time.perf_counter()
        session.run(None, {"images": one.numpy()})
        times.append(time.perf_counter() - start)
        if len(times) >= TIMED_RUNS[1] or (len(times) >= TIMED_RUNS[0] and sum(times) > TIMED_SECONDS):
            break
    return 1e3 * statistics.median(times)


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
