"""What is said of the nodes of a cluster: of made-up ones, and of a real Ray on this machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from nasdet.driver.cluster_check import Member, _look, judge
from nasdet.driver.node_probe import FolderReport, NodeReport, versions
from nasdet.driver.resources import Node
from nasdet.space import load_space

SHARED = FolderReport(exists=True, writable=True, content="x")
FOLDERS = {"studies": SHARED, "cache": SHARED, "data": SHARED}
GOOD = NodeReport("a", versions(), "Xeon", (), "", 16.0, "eth0", False, "", FOLDERS)
FOUR = Node(4, memory_gb=16)
MISSING = FolderReport(exists=False, writable=False, content="")


def member(node: Node = FOUR, clock: float = 0.0, problem: str = "", **changes: Any) -> Member:
    report = None if problem else dataclasses.replace(GOOD, **changes)
    return Member("10.0.0.2", node, report, problem, clock)


def folders(**changed: FolderReport) -> dict[str, FolderReport]:
    return {**FOLDERS, **changed}


def test_nothing_is_wrong() -> None:
    found = judge([member(Node(0, memory_gb=16)), member(), member()], FOLDERS, None)
    assert found["ok"] and [node["workers"] for node in found["nodes"]] == [0, 4, 4]
    assert found["cluster"]["plan"]["found"] == "8 trials at a time, 1 worker x 1 thread on cpu"
    (size,) = found["nodes"][0]["checks"].values()
    assert size == {"ok": True, "found": "0 cores, 16 GB: no cores, so it holds no workers"}


@pytest.mark.parametrize(
    ("wrong", "name", "text"),
    [
        (member(problem="No module named 'nasdet'"), "answer", "No module named 'nasdet'"),
        (
            member(versions={**versions(), "torch": "1.0"}),
            "versions",
            "install the same everywhere",
        ),
        (member(shared_memory_gb=0.064), "/dev/shm", "0.064 GB; loaders may hang: docker run --shm-size 8g"),
        (
            member(folders=folders(studies=MISSING)),
            "studies",
            "does not exist: it must be on storage that all nodes see",
        ),
        (member(folders=folders(studies=FolderReport(True, True, "y"))), "studies", "not the same as here"),
        (member(folders=folders(studies=FolderReport(True, False, "x"))), "studies", "shared, but cannot be written"),
        (member(folders=folders(data=FolderReport(True, False, "y"))), "data", "not the same as here"),
        (
            member(folders=folders(cache=FolderReport(True, False, "x"))),
            "cache",
            "cannot be written to; set NASDET_HOME",
        ),
        (member(interface=""), "network", "set GLOO_SOCKET_IFNAME"),
        (member(clock=-3.5), "clock", "3.50 s behind this machine: run a time service"),
        (member(torch_problem="ImportError: libcudart"), "torch", "libcudart"),
        (member(Node(8, 2)), "gpus", "Ray counts 2, PyTorch sees 0"),
    ],
)
def test_what_is_wrong_with_a_node(wrong: Member, name: str, text: str) -> None:
    found = judge([member(Node(0)), wrong], FOLDERS, None)
    assert not found["ok"]
    check = found["nodes"][1]["checks"][name]
    assert not check["ok"]
    assert text in check["found"]


@pytest.mark.parametrize(
    ("fine", "name", "text"),
    [
        (member(folders=folders(cache=FolderReport(False, True, ""))), "cache", "its own"),
        (member(folders=folders(data=FolderReport(True, False, "x"))), "data", "shared"),
        (member(name_is_loopback=True), "network", "NCCL_SOCKET_IFNAME=eth0"),
        (member(gloo_interface="ib0"), "network", "gloo uses ib0, as GLOO_SOCKET_IFNAME says"),
        (member(shared_memory_gb=None), "/dev/shm", "none on this system"),
    ],
)
def test_what_is_fine(fine: Member, name: str, text: str) -> None:
    found = judge([member(Node(0)), fine], FOLDERS, None)
    assert found["ok"] and text in found["nodes"][1]["checks"][name]["found"]


def test_all_nodes_together() -> None:
    mixed = [member(Node(8, 1, "A100"), gpus=("A100",)), member(Node(8, 1, "T4"), gpus=("T4",), cpu="EPYC")]
    found = judge(mixed, FOLDERS, load_space("detnet"))
    assert not found["ok"] and found["plan"] is None
    assert "latency_ms on several kinds of GPU: A100, T4" in found["cluster"]["plan"]["found"]
    assert found["cluster"]["processors"]["found"].startswith("EPYC; Xeon: latency")
    chosen = load_space("detnet", overrides=["resources.gpu=T4"])
    found = judge(mixed, FOLDERS, chosen)
    assert found["ok"] and [node["workers"] for node in found["nodes"]] == [0, 1]


@pytest.mark.ray
def test_a_real_node(ray_is_up: None, tmp_path: Path) -> None:
    paths = {"studies": str(tmp_path / "studies"), "cache": str(tmp_path), "data": str(tmp_path)}
    (one,), here = _look(paths)
    assert one.report is not None, one.problem
    assert one.report.versions == versions() and not one.report.torch_problem
    assert here["studies"].content and here["studies"] == one.report.folders["studies"]
    assert abs(one.clock) < 1.0
    assert judge([one], here, None)["ok"]
    assert list(tmp_path.iterdir()) == []  # neither the marker nor the folder that was made for it
