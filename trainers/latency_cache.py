"""Latency by (specification, device, torch version), measured once per machine. One decision: the cache, not a repeated
measurement, is what makes a seeded study repeatable; the reference network's time is stored once per device."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

from nasdet.models import measure_latency
from nasdet.space.specs import DetectorSpec


def cached_latency(spec: DetectorSpec, cache: Path, *, device: torch.device, threads: int, batch: int) -> float:
    """Milliseconds of one batch on `device`; from `cache` where this specification was measured before."""
    folder = cache / f"{_device_name(device)}-torch{torch.__version__}-{threads}t-b{batch}".replace(" ", "_").replace(
        "/", "_"
    )
    known = folder / f"{spec.content_hash()}.json"
    try:
        return float(json.loads(known.read_text())["ms"])
    except (OSError, ValueError, KeyError):
        pass
    reference = folder / "reference.json"
    stored = json.loads(reference.read_text())["ms"] if reference.exists() else None
    result = measure_latency(spec, device=device, threads=threads, batch=batch, reference_ms=stored)
    if stored is None:
        _write(reference, {"ms": result.reference_ms})
    _write(known, {"ms": result.ms, "ratio": result.ratio, "cv": result.cv, "spec": spec.to_json()})
    return result.ms


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu-{_processor()}"


def _processor() -> str:
    """Model of this machine's processor; Python knows only the family on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _write(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(value))
    part.replace(path)
