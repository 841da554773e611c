"""The model card of a bundle: README.md with origin, metrics, input and output, recipe, and commands that can be
pasted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasdet.space.specs import DetectorSpec, Recipe

UNITS = {
    "ap": "AP, IoU 0.50:0.95",
    "ap50": "AP, IoU 0.50",
    "ap75": "AP, IoU 0.75",
    "mask_ap": "AP of masks, IoU 0.50:0.95",
    "latency_ms": "latency of one image, ms",
    "params_m": "trainable parameters, millions",
    "gflops": "1e9 multiply-adds of one image",
}
STANDALONE = Path(__file__).with_name("predict_onnx.py")
ORIGIN = (
    ("study", "study"),
    ("space", "search space"),
    ("trial", "trial"),
    ("state", "state in the study"),
    ("system", "system"),
    ("recipe", "recipe"),
    ("data", "data"),
    ("data_seed", "seed of the data's split"),
    ("tile", "tiles in pixels"),
    ("split", "split of the metrics"),
    ("epochs", "epochs trained"),
    ("latency", "latency measured on"),
    ("seed", "seed"),
    ("mlflow_run_id", "MLflow run"),
)


def model_card(spec: DetectorSpec, recipe: Recipe, classes: Sequence[str], card: Mapping[str, Any], out: Path) -> str:
    """Markdown of the bundle's README."""
    title = f"# {card.get('trial') or out.name}: a detector of {len(classes)} classes on {card.get('data', 'own data')}"
    parts = [
        title,
        f"Trained with nasdet from {card.get('init') or _initialisation(recipe)}{_taught(card)}.",
        _origin(card),
        _metrics(card.get("values", {})),
        "## Input and output\n\n" + _shapes(spec, classes),
        "## Recipe\n\n```json\n" + recipe.model_dump_json(indent=1) + "\n```",
        _commands(card, _initialisation(recipe), out),
        _onnx(card["onnx"], out) if "onnx" in card else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _initialisation(recipe: Recipe) -> str:
    return "random initialisation" if recipe.init == "random" else f"weights of {recipe.init}"


def _taught(card: Mapping[str, Any]) -> str:
    return f", taught by the detector in {card['teacher']}" if card.get("teacher") else ""


def _origin(card: Mapping[str, Any]) -> str:
    rows = [f"| {label} | {_plain(card[key])} |" for key, label in ORIGIN if card.get(key) not in (None, "", {})]
    return "## Origin\n\n| | |\n|---|---|\n" + "\n".join(rows) if rows else ""


def _plain(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)


def _metrics(values: Mapping[str, Any]) -> str:
    rows = [f"| {name} | {value:.4g} | {UNITS.get(name, '')} |" for name, value in values.items()]
    return "## Metrics\n\n| metric | value | unit |\n|---|---:|---|\n" + "\n".join(rows) if rows else ""


def _shapes(spec: DetectorSpec, classes: Sequence[str]) -> str:
    image = spec.input
    shown = ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" if len(classes) > 20 else "")
    return (
        f"Images `(N, {image.channels}, {image.height}, {image.width})` in stored units (no normalisation outside): "
        "resized to fit with their aspect kept, top-left, the rest filled with the channel mean "
        f"({', '.join(f'{m:.4g}' for m in image.mean)}).\n\n"
        "`model.onnx`, where there is one, takes them as float32 `images` and gives `boxes` `(N, A, 4)` xyxy in pixels "
        "of that canvas and `scores` `(N, A, K)` in 0..1, before suppression. `model_nms.onnx` gives `boxes` "
        "`(N, D, 4)`, `labels` `(N, D)` and `scores` `(N, D)` after it, best first; rows without an object have "
        "score 0 and label -1. N is free in both.\n\n"
        f"Classes: {shown}."
    )


def _commands(card: Mapping[str, Any], start: str, out: Path) -> str:
    bundle, data = shlex.quote(out.name), shlex.quote(str(card.get("data", "DATA")))
    lines = [
        f"nasdet predict {bundle} IMAGE --out found      # boxes drawn and as JSON",
        f"nasdet eval {bundle} --data {data} --split test",
        f"nasdet train {bundle} --data {data} --out {bundle}-full      # in full, from {start}",
    ]
    return "## Commands\n\nIn the folder that holds this one:\n\n```\n" + "\n".join(lines) + "\n```"


def _onnx(check: Mapping[str, Any], out: Path) -> str:
    check_text = (
        f"On {check['images']} images both files gave PyTorch's boxes to {check['box_pixels']:.2g} pixels and its "
        f"scores to {check['score']:.2g}; model_nms.onnx takes {check['ms']:.3g} ms per image with ONNX Runtime on "
        f"the CPU that exported it ({check['threads']} threads)."
    )
    use = (
        "Without nasdet and PyTorch: save this as `predict_onnx.py`, then "
        f"`python predict_onnx.py {shlex.quote(out.name)} IMAGE`. It gives the boxes of `nasdet predict`."
    )
    return f"## ONNX\n\n{check_text}\n\n{use}\n\n```python\n{STANDALONE.read_text(encoding='utf-8')}```"
