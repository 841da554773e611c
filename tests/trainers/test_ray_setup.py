"""What nasdet uses of Ray's private modules, which any release may change."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from nasdet.trainers.ray_setup import _set_address, lean_trainer, trainer_class


def test_this_release_of_ray_has_the_private_parts_of_the_lean_trainer() -> None:
    """If this fails, its message names the part: adapt `lean_trainer`; until then groups start more slowly."""
    assert issubclass(lean_trainer(), DataParallelTrainer)


def test_the_process_that_holds_a_group_imports_no_torch() -> None:
    """It would take half a second and 0.3 GB of every group."""
    code = "import sys, nasdet.trainers.tune_trainable; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setitem(sys.modules, "ray.train.v2._internal.execution.controller", None),
        lambda patch: patch.delattr(DataParallelTrainer, "_initialize_and_run_controller"),
    ],
)
def test_another_release_of_ray_is_used_by_its_public_trainer(
    change, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    change(monkeypatch)
    assert trainer_class() is DataParallelTrainer
    assert "worker groups start more slowly" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the interface")
@pytest.mark.parametrize(("set_by_user", "used"), [({}, "lo"), ({"GLOO_SOCKET_IFNAME": "eth7"}, "eth7")])
def test_gloo_talks_over_the_interface_of_the_node(
    set_by_user: dict[str, str], used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = dict(set_by_user)
    monkeypatch.setattr("os.environ", environment)
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: "127.0.0.1")
    _set_address("10.0.0.1", 4711)
    assert environment == {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4711", "GLOO_SOCKET_IFNAME": used}
