"""Latency of a candidate: measured in PyTorch, on ONNX Runtime or by the user's own command, and cached by
(specification, device, backend). One decision: the cache, not a repeated measurement, is what makes a seeded study
repeatable; the reference network's time is stored once per device. ONNX Runtime and commands get the file that
`nasdet export --onnx` would write (norms folded, no suppression), with random weights.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import platform
import shlex
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from typing_extensions import Unpack

from nasdet.errors import TrialFailure
from nasdet.files import atomic_write
from nasdet.models import Latency, Quiet, build_detector, measure_latency, time_against_reference
from nasdet.space.specs import DetectorSpec


@dataclasses.dataclass(frozen=True)
class LatencyBackend:
    """What measures latency, as the `latency` section of a space says."""

    kind: str = "torch"
    """torch, onnxruntime or command."""
    command: str = ""
    """Of kind command: program and arguments, as `command_latency` takes them."""
    timeout: float = 120.0
    """Seconds that the command may take."""
    folder: str = "."
    """Where the command runs."""

    @property
    def name(self) -> str:
        """Name that separates its measurements from those of other backends in the cache."""
        if self.kind == "command":
            return f"command-{hashlib.sha256(self.command.encode()).hexdigest()[:12]}"
        if self.kind == "onnxruntime":
            import onnxruntime

            return f"onnxruntime{onnxruntime.__version__}"
        return f"torch{torch.__version__}"


TORCH = LatencyBackend()


class Target(TypedDict):
    """Where and how latency is measured."""

    device: torch.device
    threads: int
    batch: int
    backend: LatencyBackend


def cached_latency(
    spec: DetectorSpec, cache: Path, quiet: Quiet = contextlib.nullcontext, **target: Unpack[Target]
) -> float:
    """Milliseconds of one batch on the target; from `cache` where this specification was measured before, else
    measured in the block that `quiet` makes.

    Raises:
        NasdetError: the backend cannot measure this specification.
    """
    threads, batch, backend = target["threads"], target["batch"], target["backend"]
    place = f"{device_name(target['device'])}-{backend.name}-{threads}t-b{batch}"
    known = cache / place.replace(" ", "_").replace("/", "_") / f"{spec.content_hash()}.json"
    with contextlib.suppress(OSError, ValueError, KeyError):
        return float(json.loads(known.read_text())["ms"])
    if backend.kind == "command":
        ms = command_latency(
            spec, backend.command, folder=backend.folder, timeout=backend.timeout, batch=batch, quiet=quiet
        )
        atomic_write(known, json.dumps({"ms": ms, "command": backend.command, "spec": spec.to_json()}))
        return ms
    if backend.kind == "onnxruntime":
        result = onnxruntime_latency(spec, threads=threads, batch=batch, quiet=quiet)
    else:
        result = measure_latency(spec, device=target["device"], threads=threads, batch=batch, quiet=quiet)
    reference = known.parent / "reference.json"
    if not reference.exists():  # looked at only now: another group may have written it during the measurement
        atomic_write(reference, json.dumps({"ms": result.reference_ms}))
    ms = result.ratio * float(json.loads(reference.read_text())["ms"])
    found = {"ms": ms, "ratio": result.ratio, "cv": result.cv, "spec": spec.to_json()}
    atomic_write(known, json.dumps(found))
    return ms


def device_name(device: torch.device) -> str:
    """The kind of processor or GPU, to which milliseconds belong."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu-{_processor()}"


def _processor() -> str:
    """Model of this machine's processor; Python knows only the family on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def onnxruntime_latency(
    spec: DetectorSpec,
    *,
    threads: int,
    batch: int,
    quiet: Quiet = contextlib.nullcontext,
) -> Latency:
    """Latency of the candidate on ONNX Runtime's CPU provider, in turn with the reference network in PyTorch.

    Raises:
        InputError: the onnx extra is missing, or this kind of detector is not exported.
    """
    from nasdet.export.export_onnx import open_session

    size = spec.input
    images = np.full((batch, size.channels, size.height, size.width), 127, np.float32)
    with tempfile.TemporaryDirectory(prefix="nasdet-latency-") as folder:
        session = open_session(_export(spec, Path(folder)), threads)
        return time_against_reference(lambda: session.run(None, {"images": images}), threads=threads, quiet=quiet)


def command_latency(
    spec: DetectorSpec,
    command: str,
    *,
    folder: str,
    timeout: float,
    batch: int,
    quiet: Quiet = contextlib.nullcontext,
) -> float:
    """Milliseconds that `command` prints for the candidate.

    Args:
        spec: of the candidate.
        command: program and arguments, no shell; {model} and {shape} in it become the path of model.onnx and the input
            shape such as 1x3x256x256. The environment has them as NASDET_MODEL and NASDET_SHAPE.
        folder: where it runs.
        timeout: seconds.
        batch: images at a time.
        quiet: makes the block in which the command runs.

    Raises:
        TrialFailure: it cannot be started, takes too long, ends with another code than 0, or its last line is no number
            above 0.
    """
    size = spec.input
    shape = "x".join(map(str, (batch, size.channels, size.height, size.width)))
    with tempfile.TemporaryDirectory(prefix="nasdet-latency-") as temporary:
        model = str(_export(spec, Path(temporary)))
        words = [word.replace("{model}", model).replace("{shape}", shape) for word in shlex.split(command)]
        env = {**os.environ, "NASDET_MODEL": model, "NASDET_SHAPE": shape}
        with quiet():
            code, said, complained = _run(words, folder, env, timeout)
    if code:
        raise TrialFailure(f"latency.command ended with {code}: {_last_line(complained) or _last_line(said)}")
    return _milliseconds(_last_line(said))


def _run(words: list[str], folder: str, env: dict[str, str], timeout: float) -> tuple[int, str, str]:
    """Exit code, stdout and stderr. What takes too long ends with all that it started, so that it does not keep the
    target busy for the next candidate."""
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            words, cwd=folder, env=env, stdout=pipe, stderr=pipe, text=True, errors="replace", start_new_session=True
        )
    except OSError as error:
        raise TrialFailure(f"latency.command cannot be run ({error.strerror})") from None
    with process:
        try:
            said, complained = process.communicate(timeout=timeout)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise TrialFailure(f"latency.command took more than {timeout:g} s") from None
            raise
    return process.returncode, said, complained


def _export(spec: DetectorSpec, folder: Path) -> Path:
    from nasdet.export.export_onnx import check_exportable, check_onnx_extra, write_onnx

    check_onnx_extra()
    check_exportable(spec)
    write_onnx(build_detector(spec).eval(), folder / "model.onnx")
    return folder / "model.onnx"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def _milliseconds(line: str) -> float:
    try:
        value = float(line)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise TrialFailure(f"latency.command printed {line!r}, not milliseconds")
    return value
