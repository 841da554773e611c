"""Latency of a candidate outside PyTorch: its ONNX file on ONNX Runtime, or judged by a command. One decision: both see
the file that `nasdet export --onnx` would write (norms folded, no suppression), with random weights."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import signal
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from nasdet.errors import TrialFailure
from nasdet.models import Latency, build_detector, time_against_reference
from nasdet.space.specs import DetectorSpec


def onnxruntime_latency(spec: DetectorSpec, *, threads: int, batch: int, reference_ms: float | None) -> Latency:
    """Latency of the candidate on ONNX Runtime's CPU provider, in turn with the reference network in PyTorch.

    Raises:
        InputError: the onnx extra is missing, or this kind of detector is not exported.
    """
    from nasdet.export.export_onnx import open_session

    size = spec.input
    images = np.full((batch, size.channels, size.height, size.width), 127, np.float32)
    with tempfile.TemporaryDirectory(prefix="nasdet-latency-") as folder:
        session = open_session(_write(spec, Path(folder)), threads)
        return time_against_reference(
            lambda: session.run(None, {"images": images}), threads=threads, reference_ms=reference_ms
        )


def command_latency(spec: DetectorSpec, command: str, *, folder: str, timeout: float, batch: int) -> float:
    """Milliseconds that `command` prints for the candidate.

    Args:
        spec: of the candidate.
        command: program and arguments, no shell; {model} and {shape} in it become the path of model.onnx and the input
            shape such as 1x3x256x256. The environment has them as NASDET_MODEL and NASDET_SHAPE.
        folder: where it runs.
        timeout: seconds.
        batch: images at a time.

    Raises:
        TrialFailure: it cannot be started, takes too long, ends with another code than 0, or its last line is no number
            above 0.
    """
    size = spec.input
    shape = "x".join(map(str, (batch, size.channels, size.height, size.width)))
    with tempfile.TemporaryDirectory(prefix="nasdet-latency-") as temporary:
        model = str(_write(spec, Path(temporary)))
        words = [word.replace("{model}", model).replace("{shape}", shape) for word in shlex.split(command)]
        env = {**os.environ, "NASDET_MODEL": model, "NASDET_SHAPE": shape}
        code, said, complained = _run(words, folder, env, timeout)
    if code:
        raise TrialFailure(f"latency.command ended with {code}: {_last(complained) or _last(said)}")
    return _number(_last(said))


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


def _write(spec: DetectorSpec, folder: Path) -> Path:
    from nasdet.export.export_onnx import check_exportable, check_onnx_extra, write_onnx

    check_onnx_extra()
    check_exportable(spec)
    write_onnx(build_detector(spec).eval(), folder / "model.onnx")
    return folder / "model.onnx"


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def _number(line: str) -> float:
    try:
        value = float(line)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise TrialFailure(f"latency.command printed {line!r}, not milliseconds")
    return value
