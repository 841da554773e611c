from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from nasdet.driver.ray_cluster import _interrupt_later, as_node
from nasdet.driver.resources import Node


@pytest.mark.parametrize(
    ("resources", "node"),
    [
        ({"CPU": 2.0, "node:127.0.0.1": 1.0}, Node(2)),
        ({"memory": 4e9, "object_store_memory": 2e9}, Node(0, memory_gb=6)),
        ({"CPU": 96.0, "GPU": 8.0, "accelerator_type:A100": 1.0}, Node(96, 8, "A100")),
    ],
)
def test_a_node(resources: dict[str, float], node: Node) -> None:
    assert as_node(resources) == node


def test_a_first_interruption_waits_and_a_second_one_does_not() -> None:
    before, reached = signal.signal(signal.SIGINT, signal.default_int_handler), list[str]()
    try:
        with pytest.raises(KeyboardInterrupt), _interrupt_later():
            signal.raise_signal(signal.SIGINT)
            reached.append("after the first")
        with pytest.raises(KeyboardInterrupt), _interrupt_later():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            reached.append("after the second")
        assert reached == ["after the first"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


OWN_RAY = """
import os, pathlib, ray
from ray._private import utils
from nasdet.driver.ray_cluster import ray_cluster

utils.read_ray_address = lambda folder: "127.0.0.1:1"  # as ray start --head leaves it

def below(pid):
    children = [p for p in map(int, filter(str.isdecimal, os.listdir("/proc"))) if parent(p) == pid]
    return [pid, *(each for child in children for each in below(child))]

def parent(pid):
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0

def listening():
    rows = [r.split() for name in ("tcp", "tcp6") for r in open(f"/proc/net/{name}").readlines()[1:]]
    return {f"socket:[{r[9]}]": r[1].rpartition(":")[0] for r in rows if r[3] == "0A"}

with ray_cluster() as nodes:
    addresses, mine = listening(), set()
    for pid in below(os.getpid()):
        try:
            mine |= {os.readlink(file) for file in pathlib.Path(f"/proc/{pid}/fd").iterdir()}
        except OSError:
            pass
    found = {addresses[socket] for socket in mine & addresses.keys()}
    print(ray.nodes()[0]["NodeManagerAddress"], os.environ["RAY_AUTH_MODE"], len(nodes), *sorted(found))
print("RAY_AUTH_MODE" in os.environ, ray.is_initialized())
"""
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def test_a_ray_of_ones_own_beside_another_one() -> None:
    """It starts although another Ray runs on the machine, listens on this machine only, and leaves nothing set."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", OWN_RAY], capture_output=True, text=True, timeout=120, env=clean, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second = (line.split() for line in done.stdout.splitlines())
    assert first[:3] == ["127.0.0.1", "token", "1"]
    assert first[3:] and set(first[3:]) <= LOOPBACK
    assert second == ["False", "False"]


@pytest.mark.slow
def test_a_ray_that_somebody_started() -> None:
    """A head on this machine, which asks for the user's token, is used by RAY_ADDRESS, and is up afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--include-dashboard=false"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    clean |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_TOKEN": "0" * 64, "RAY_AUTH_MODE": "token"}
    folder = tempfile.mkdtemp(prefix="r")  # short: paths of Unix sockets have at most 107 bytes
    head = subprocess.Popen(
        [*ray, f"--port={port}", "--num-cpus=3", f"--temp-dir={folder}"],
        env=clean,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    del clean["RAY_AUTH_MODE"]
    clean["RAY_ADDRESS"] = f"127.0.0.1:{port}"
    use = (
        "from nasdet.driver.ray_cluster import ray_cluster\n"
        "for _ in range(2):\n"
        "    with ray_cluster() as nodes: print([n.cpus for n in nodes])"
    )
    try:
        while head.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.2)
        done = subprocess.run(
            [sys.executable, "-c", use], env=clean, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.stdout.splitlines() == ["[3.0]", "[3.0]"], done.stderr
    finally:
        head.terminate()
        head.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)
