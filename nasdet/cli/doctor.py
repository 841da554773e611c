"""`nasdet doctor`."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import click

PACKAGES = ("torch", "torchvision", "timm", "ray", "optuna", "mlflow", "hotcoco", "pycocotools", "pydantic")
EXTRAS = ("onnx", "onnxruntime", "onnxscript")
FREE_GB = 5.0


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(as_json: bool) -> None:
    """Check this machine and installation; exit code 1 if something needed does not work.

    \b
    Example:
      nasdet doctor
    """
    from nasdet.cli.output import print_json
    from nasdet.errors import NasdetError

    checks = _checks()
    broken = [name for name, (ok, _) in checks.items() if not ok]
    if as_json:
        print_json({"ok": not broken, "checks": {n: {"ok": ok, "found": text} for n, (ok, text) in checks.items()}})
    else:
        for name, (ok, text) in checks.items():
            click.echo(f"{'ok ' if ok else 'BAD'}  {name:<22} {text}")
    if broken:
        raise NasdetError(f"does not work here: {', '.join(broken)}")


def _checks() -> dict[str, tuple[bool, str]]:
    checks: dict[str, tuple[bool, str]] = {
        "python": (sys.version_info >= (3, 11), platform.python_version()),
    }
    for name in PACKAGES:
        checks[name] = _version(name, needed=True)
    for name in EXTRAS:
        checks[name] = _version(name, needed=False)
    checks["torchvision operators"] = _operators()
    checks.update(_devices())
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    short = "" if free > FREE_GB else f"; a study wants {FREE_GB:g}: free some, or work on another disk"
    checks["free disk here"] = (not short, f"{free:.0f} GB{short}")
    return checks


def _version(name: str, *, needed: bool) -> tuple[bool, str]:
    try:
        return True, importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return not needed, "missing" if needed else "not installed (pip install 'nasdet[onnx]')"


def _operators() -> tuple[bool, str]:
    """A torch build that does not fit torchvision imports, but has no suppression of boxes."""
    try:
        import torch
        from torchvision.ops import nms

        kept: Any = nms(torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1]]), torch.tensor([0.9, 0.8]), 0.5)
        return kept.tolist() == [0], "nms works"
    except Exception as error:
        return False, f"{type(error).__name__}: {error}; install torch and torchvision of one build"


def _devices() -> dict[str, tuple[bool, str]]:
    try:
        import torch

        from nasdet.driver.resources import cpu_count
        from nasdet.trainers.precision import native_bf16
    except Exception as error:
        return {"devices": (False, f"{type(error).__name__}: {error}; install torch anew")}
    number = torch.cuda.device_count()
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(number)) or "none, training on the CPU"
    device = "cuda" if number else "cpu"
    return {
        "cpu cores": (True, str(cpu_count())),
        "gpus": (True, names),
        "training precision": (True, f"{'bf16' if native_bf16(device) else 'fp32'} on {device}"),
    }
