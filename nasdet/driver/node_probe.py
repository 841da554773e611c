"""What one node of a cluster is like, found by a small actor that runs there. One decision: it only reports; what is
wrong with that is decided where all nodes are seen, in `nasdet.driver.cluster_check`."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

PACKAGES = ("nasdet", "ray", "torch", "torchvision")
SHARED_MEMORY = Path("/dev/shm")
SECONDS_TO_APPEAR = 5.0
"""A network file system may show a new file of another machine this much later."""
_LISTED = 50


@dataclasses.dataclass(frozen=True)
class FolderReport:
    """A folder as one node sees it."""

    exists: bool
    writable: bool
    """Itself, or the nearest folder above it that exists."""
    content: str
    """What the marker in it holds, or what lies in it; empty if there is nothing."""


@dataclasses.dataclass(frozen=True)
class NodeReport:
    """What a node says of itself."""

    host: str
    versions: dict[str, str]
    """python, and each of `PACKAGES`."""
    cpu: str
    """Model of the processor."""
    gpus: tuple[str, ...]
    """Names of the GPUs that PyTorch sees."""
    torch_problem: str
    """Why PyTorch cannot be imported; empty if it can."""
    shared_memory_gb: float | None
    interface: str
    """That has the node's address; empty if that cannot be told."""
    name_is_loopback: bool
    """Whether the host name stands for a loopback address."""
    gloo_interface: str
    """What the user has set GLOO_SOCKET_IFNAME to; empty: nothing."""
    folders: dict[str, FolderReport]


class NodeProbe:
    """Runs on a node."""

    def look(self, address: str, folders: Mapping[str, str], marker: str) -> NodeReport:
        """Everything about the node but its clock.

        Args:
            address: of the node, as Ray knows it.
            folders: to look at, by name.
            marker: see `look_at_folders`.
        """
        from nasdet.trainers.network import interface_of

        gpus, problem = _gpus()
        return NodeReport(
            host=socket.gethostname(),
            versions=versions(),
            cpu=cpu_model(),
            gpus=gpus,
            torch_problem=problem,
            shared_memory_gb=shared_memory_gb(),
            interface=interface_of(address),
            name_is_loopback=_name_is_loopback(),
            gloo_interface=os.environ.get("GLOO_SOCKET_IFNAME", ""),
            folders=look_at_folders(folders, marker),
        )

    def clock(self) -> float:
        """The time here, in seconds since the epoch."""
        return time.time()


def look_at_folders(folders: Mapping[str, str], marker: str) -> dict[str, FolderReport]:
    """Each folder as this node sees it.

    Args:
        folders: paths, by name.
        marker: name of the file that the driver has written into all of them but that of the data.
    """
    return {name: look_at_folder(Path(path), "" if name == "data" else marker) for name, path in folders.items()}


def look_at_folder(folder: Path, marker: str, patience: float = SECONDS_TO_APPEAR) -> FolderReport:
    """A folder as this node sees it.

    Args:
        folder: the folder, or a file.
        marker: name of the file that must be in it; empty: none, and what lies in the folder is reported.
        patience: seconds until the marker counts as missing.
    """
    above = folder
    while not above.exists() and above != above.parent:
        above = above.parent
    end = time.monotonic() + patience
    content = ""
    while folder.exists() and not (content := _read(folder, marker)) and time.monotonic() < end:
        time.sleep(0.2)
    return FolderReport(folder.exists(), os.access(above, os.W_OK), content)


def _read(folder: Path, marker: str) -> str:
    """The marker's text, else names and sizes of the first files."""
    if not marker:
        return "; ".join(_size(path) for path in (sorted(folder.iterdir())[:_LISTED] if folder.is_dir() else [folder]))
    try:
        return (folder / marker).read_text()
    except OSError:
        return ""


def _size(path: Path) -> str:
    return f"{path.name} {path.stat().st_size}" if path.is_file() else path.name


def versions() -> dict[str, str]:
    """Of Python and of each of `PACKAGES`."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def shared_memory_gb() -> float | None:
    """Size of /dev/shm in 1e9 bytes; None where there is none."""
    return shutil.disk_usage(SHARED_MEMORY).total / 1e9 if SHARED_MEMORY.is_dir() else None


def cpu_model() -> str:
    """Name of the processor; empty where Linux does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _gpus() -> tuple[tuple[str, ...], str]:
    """What PyTorch sees and why it cannot be imported, in a process of its own: Ray hides the GPUs from this one."""
    look = "import torch; print(*map(torch.cuda.get_device_name, range(torch.cuda.device_count())), sep='\\n')"
    seen = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run([sys.executable, "-c", look], env=seen, capture_output=True, text=True, check=False)
    problem = done.stderr.strip().rpartition("\n")[2] if done.returncode else ""
    return tuple(filter(None, done.stdout.splitlines())), problem


def _name_is_loopback() -> bool:
    try:
        return socket.gethostbyname(socket.gethostname()).startswith("127.")
    except OSError:
        return False
