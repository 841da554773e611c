"""`nasdet doctor`."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nasdet.cli.options import complete_path

if TYPE_CHECKING:
    from nasdet.space import SearchSpace

PACKAGES = ("torch", "torchvision", "timm", "ray", "optuna", "mlflow", "hotcoco", "pycocotools", "pydantic")
EXTRAS = ("onnx", "onnxruntime", "onnxscript")
FREE_GB = 5.0


@click.command("doctor")
@click.option("--address", metavar="RAY", help="Look at every node of this cluster too  [default: RAY_ADDRESS]")
@click.option("--space", metavar="SPACE", shell_complete=complete_path, help="Show the plan for this search space.")
@click.option(
    "--data", metavar="SRC", shell_complete=complete_path, help="Data set that every node of the cluster must see."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(address: str | None, space: str | None, data: str | None, as_json: bool) -> None:
    """Check this machine and installation, and the nodes of a cluster; exit code 1 if something needed does not work.

    \b
    Example:
      nasdet doctor
      nasdet doctor --address 10.0.0.1:6379 --space quick --data /shared/images
    """
    from nasdet.cli.output import print_json
    from nasdet.driver.ray_address import ray_address
    from nasdet.errors import NasdetError
    from nasdet.space import load_space

    loaded = load_space(space) if space else None
    checks = {name: {"ok": ok, "found": text} for name, (ok, text) in _checks(loaded).items()}
    cluster = _cluster(address, loaded, data) if ray_address(address) else None
    broken = [*_broken(checks), *(_broken_on(cluster) if cluster else ())]
    if as_json:
        print_json({"ok": not broken, "checks": checks, **({"cluster": cluster} if cluster else {})})
    else:
        _show(checks)
        if cluster:
            _show_cluster(cluster)
    if broken:
        raise NasdetError(f"does not work here: {', '.join(broken)}")


Checks = dict[str, dict[str, Any]]
"""By name: whether it is ok, and what was found."""


def _broken(checks: Checks) -> list[str]:
    return [name for name, check in checks.items() if not check["ok"]]


def _broken_on(cluster: dict[str, Any]) -> list[str]:
    nodes = [f"{name} on {node['address']}" for node in cluster["nodes"] for name in _broken(node["checks"])]
    return _broken(cluster["cluster"]) + nodes


def _show(checks: Checks) -> None:
    for name, check in checks.items():
        click.echo(f"{'ok ' if check['ok'] else 'BAD'}  {name:<22} {check['found']}")


def _show_cluster(cluster: dict[str, Any]) -> None:
    for node in cluster["nodes"]:
        workers = "no workers" if not node["workers"] else f"{node['workers']} worker" + "s" * (node["workers"] > 1)
        click.echo(f"\nnode {node['address']} ({node['host'] or 'no answer'}): {workers} of the plan")
        _show(node["checks"])
    click.echo("\nall nodes")
    _show(cluster["cluster"])


def _cluster(address: str | None, space: SearchSpace | None, data: str | None) -> dict[str, Any]:
    from nasdet.driver.cluster_check import check_cluster
    from nasdet.driver.ray_address import say_address

    click.echo(f"{say_address(address)} ...", err=True)
    return check_cluster(address, space, data)


def _checks(space: SearchSpace | None) -> dict[str, tuple[bool, str]]:
    checks: dict[str, tuple[bool, str]] = {
        "python": (sys.version_info >= (3, 11), platform.python_version()),
    }
    for name in PACKAGES:
        checks[name] = _version(name, needed=True)
    for name in EXTRAS:
        checks[name] = _version(name, needed=False)
    checks["torchvision operators"] = _operators()
    checks.update(_devices())
    if space is not None:
        checks["plan"] = _plan(space)
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    short = "" if free > FREE_GB else f"; a study wants {FREE_GB:g}: free some, or work on another disk"
    checks["free disk here"] = (not short, f"{free:.0f} GB{short}")
    return checks


def _plan(space: SearchSpace) -> tuple[bool, str]:
    """What a search of the space would run here."""
    from nasdet.driver.planner import make_plan
    from nasdet.driver.resources import this_machine
    from nasdet.errors import InputError

    try:
        return True, make_plan(space, [this_machine()]).describe()
    except InputError as error:
        return False, str(error)


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

        from nasdet.driver.cluster_check import shared_memory
        from nasdet.driver.node_probe import shared_memory_gb
        from nasdet.driver.resources import cpu_count
        from nasdet.trainers.precision import native_bf16
    except Exception as error:
        return {"devices": (False, f"{type(error).__name__}: {error}; install torch anew")}
    number = torch.cuda.device_count()
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(number)) or "none, training on the CPU"
    device, memory = "cuda" if number else "cpu", shared_memory(shared_memory_gb())
    return {
        "cpu cores": (True, str(cpu_count())),
        "gpus": (True, names),
        "/dev/shm": (memory.ok, memory.text),
        "training precision": (True, f"{'bf16' if native_bf16(device) else 'fp32'} on {device}"),
    }
