"""Non-maximum suppression as an ONNX graph behind `model.onnx`, which makes `model_nms.onnx`. It repeats
`Detector.detect` step by step (best candidates, clipping, suppression within classes, limit) in standard operators.
Every image gets the same number of rows, so that the detections of a batch are one array and any runtime takes the
file."""

from __future__ import annotations

from pathlib import Path

from nasdet.models import CANDIDATES, LEAST_SCORE, LIMIT
from nasdet.space.specs import DetectorSpec

STEPS = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
suppression (float[N, A, 4] raw_boxes, float[N, A, K] raw_scores)
  => (float[N, D, 4] boxes, int64[N, D] labels, float[N, D] scores)
<
  int64[2] flat = {{0, -1}}, int64[1] candidates = {{{candidates}}}, int64[1] rows = {{{rows}}},
  int64 classes = {{{classes}}},
  int64[1] axis1 = {{1}}, int64[1] axis2 = {{2}}, int64[3] corners = {{1, 1, 4}}, int64 limit = {{{limit}}},
  float zero = {{0}}, float[4] canvas = {{{width}, {height}, {width}, {height}}}, float apart = {{{apart}}},
  float iou = {{{iou}}}, float least = {{{least}}}, int64 none = {{-1}}
>
{{
  every = Reshape (raw_scores, flat)
  best, index = TopK (every, candidates)
  label = Mod (index, classes)
  place = Div (index, classes)
  place_column = Unsqueeze (place, axis2)
  place_corners = Expand (place_column, corners)
  chosen = GatherElements <axis = 1> (raw_boxes, place_corners)
  inside = Min (chosen, canvas)
  box = Max (inside, zero)
  label_number = Cast <to = 1> (label)
  shift = Mul (label_number, apart)
  shift_column = Unsqueeze (shift, axis2)
  moved = Add (box, shift_column)
  best_row = Unsqueeze (best, axis1)
  kept = NonMaxSuppression (moved, best_row, limit, iou, least)
  kept_scores = GatherND (best_row, kept)
  nothing = Mul (best_row, zero)
  left_row = ScatterND (nothing, kept, kept_scores)
  left = Squeeze (left_row, axis1)
  scores, order = TopK (left, rows)
  found = Greater (scores, zero)
  found_column = Unsqueeze (found, axis2)
  ordered_label = GatherElements <axis = 1> (label, order)
  labels = Where (found, ordered_label, none)
  order_column = Unsqueeze (order, axis2)
  order_corners = Expand (order_column, corners)
  ordered_box = GatherElements <axis = 1> (box, order_corners)
  boxes = Where (found_column, ordered_box, zero)
}}
"""
"""Classes are moved apart by more than the canvas, so that boxes of different classes never overlap (as torchvision's
`batched_nms` does)."""


def add_suppression(raw: Path, spec: DetectorSpec, places: int, path: Path) -> None:
    """Write `raw` with suppression behind it.

    Args:
        raw: a `model.onnx`.
        spec: its detector's: canvas, classes and the IoU of suppression.
        places: A, the boxes of one image before suppression.
        path: file to write. Outputs: `boxes` (N, D, 4) xyxy canvas pixels, `labels` (N, D) int64, `scores` (N, D), best
            first, D = 100 or `places` x classes if that is less; rows without an object have score 0 and label -1.
    """
    import onnx

    model = onnx.compose.add_prefix(onnx.load(raw), "net/", rename_inputs=False)
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    height, width, candidates = spec.input.height, spec.input.width, min(CANDIDATES, places * spec.head.classes)
    text = STEPS.format(
        ir=model.ir_version, opset=opset, candidates=candidates, rows=min(LIMIT, candidates), limit=LIMIT,
        classes=spec.head.classes, width=width, height=height, apart=max(height, width) + 1,
        iou=spec.head.nms_iou, least=LEAST_SCORE,
    )  # fmt: skip
    steps = onnx.parser.parse_model(text)
    joined = onnx.compose.merge_models(model, steps, io_map=[("net/boxes", "raw_boxes"), ("net/scores", "raw_scores")])
    onnx.checker.check_model(joined)
    onnx.save(joined, path)
