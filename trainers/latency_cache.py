"""Latency by (specification, device, torch version), measured once per machine. One decision: the cache, not a repeated
measurement, is what makes a seeded study repeatable; the reference network's time is stored once per device."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from pathlib import Path

import torch

from nasdet.files import atomic_write
from nasdet.models import Latency, measure_latency
from nasdet.space.specs import DetectorSpec
from nasdet.trainers.latency_outside_torch import command_latency, onnxruntime_latency


@dataclasses.dataclass(frozen=True)
class Judge:
    """Who measures: backend torch, onnxruntime or command, as the `latency` of a space says."""

    backend: str = "torch"
    command: str = ""
    timeout: float = 120.0
    folder: str = "."

    @property
    def name(self) -> str:
        """What tells its measurements from others in the cache."""
        if self.backend == "command":
            return f"command-{hashlib.sha256(self.command.encode()).hexdigest()[:12]}"
        if self.backend == "onnxruntime":
            import onnxruntime

            return f"onnxruntime{onnxruntime.__version__}"
        return f"torch{torch.__version__}"


def cached_latency(
    spec: DetectorSpec, cache: Path, *, device: torch.device, threads: int, batch: int, judge: Judge = Judge()
) -> float:
    """Milliseconds of one batch on `device`; from `cache` where this specification was measured before.

    Raises:
        NasdetError: the judge cannot measure this specification.
    """
    place = f"{_device_name(device)}-{judge.name}-{threads}t-b{batch}"
    folder = cache / place.replace(" ", "_").replace("/", "_")
    known = folder / f"{spec.content_hash()}.json"
    try:
        return float(json.loads(known.read_text())["ms"])
    except (OSError, ValueError, KeyError):
        pass
    if judge.backend == "command":
        ms = command_latency(spec, judge.command, folder=judge.folder, timeout=judge.timeout, batch=batch)
        atomic_write(known, json.dumps({"ms": ms, "command": judge.command, "spec": spec.to_json()}))
        return ms
    reference = folder / "reference.json"
    stored = json.loads(reference.read_text())["ms"] if reference.exists() else None
    result = _measure(spec, judge, device, threads, batch, stored)
    if stored is None:
        atomic_write(reference, json.dumps({"ms": result.reference_ms}))
    found = {"ms": result.ms, "ratio": result.ratio, "cv": result.cv, "spec": spec.to_json()}
    atomic_write(known, json.dumps(found))
    return result.ms


def _measure(
    spec: DetectorSpec, judge: Judge, device: torch.device, threads: int, batch: int, reference_ms: float | None
) -> Latency:
    if judge.backend == "onnxruntime":
        return onnxruntime_latency(spec, threads=threads, batch=batch, reference_ms=reference_ms)
    return measure_latency(spec, device=device, threads=threads, batch=batch, reference_ms=reference_ms)


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
