"""Latency by ONNX Runtime and by a real script."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from nasdet.errors import InputError, TrialFailure
from nasdet.models import Latency
from nasdet.space.specs import DetectorSpec
from nasdet.trainers import latency as latency_module
from nasdet.trainers.latency import LatencyBackend, cached_latency, command_latency
from tests.trainers.conftest import tiny_spec

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

COUNTING = """
import os, sys, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
assert sys.argv[2] == os.environ["NASDET_SHAPE"] and sys.argv[1] == os.environ["NASDET_MODEL"]
with open("calls", "a") as file:
    file.write(sys.argv[2] + "\\n")
print("a line of its own")
print(len(session.get_inputs()) * 2.5)
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny detector's model.onnx."""
    return latency_module._export(tiny_spec(), tmp_path_factory.mktemp("exported"))


@pytest.fixture(autouse=True)
def _one_export(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every measurement gets a copy of one exported file, since an export takes seconds."""

    def copied(spec: DetectorSpec, folder: Path) -> Path:
        assert spec == tiny_spec()
        return Path(shutil.copy(exported, folder / "model.onnx"))

    monkeypatch.setattr(latency_module, "_export", copied)


def script(folder: Path, text: str) -> str:
    (folder / "measure.py").write_text(text)
    return f"{sys.executable} measure.py {{model}} {{shape}}"


def test_a_command_measures_a_candidate_once(tmp_path: Path) -> None:
    backend = LatencyBackend("command", script(tmp_path, COUNTING), folder=str(tmp_path))
    spec, where = tiny_spec(), {"device": torch.device("cpu"), "threads": 1, "batch": 2}
    assert [cached_latency(spec, tmp_path / "cache", backend=backend, **where) for _ in range(2)] == [2.5, 2.5]
    size = spec.input
    assert (tmp_path / "calls").read_text() == f"2x{size.channels}x{size.height}x{size.width}\n"
    other = LatencyBackend("command", backend.command + " again", folder=str(tmp_path))
    cached_latency(spec, tmp_path / "cache", backend=other, **where)
    assert len((tmp_path / "calls").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import time; time.sleep(60)", "latency.command took more than 0.5 s"),
        ("import sys; sys.exit('the phone is away')", "latency.command ended with 1: the phone is away"),
        ("print('fast')", "latency.command printed 'fast', not milliseconds"),
        ("print(-3)", "printed '-3', not milliseconds"),
        ("print('nan')", "printed 'nan', not milliseconds"),
        ("", "printed '', not milliseconds"),
    ],
)
def test_a_command_that_fails_fails_the_candidate(tmp_path: Path, text: str, message: str) -> None:
    timeout = 0.5 if "sleep" in text else 60.0
    with pytest.raises(TrialFailure) as error:
        command_latency(tiny_spec(), script(tmp_path, text), folder=str(tmp_path), timeout=timeout, batch=1)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_command_that_takes_too_long_ends_with_its_child_processes(tmp_path: Path) -> None:
    late = "import time; time.sleep(1); open('late', 'w').close()"
    text = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {late!r}])"
    with pytest.raises(TrialFailure, match=r"more than 0\.5 s"):
        command_latency(tiny_spec(), script(tmp_path, text), folder=str(tmp_path), timeout=0.5, batch=1)
    time.sleep(1.5)
    assert not (tmp_path / "late").exists()


def test_a_command_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(TrialFailure, match=r"cannot be run \(No such file"):
        command_latency(tiny_spec(), "/no/such/program", folder=str(tmp_path), timeout=9, batch=1)


def test_onnxruntime_is_measured_beside_the_reference(tmp_path: Path) -> None:
    where = {"device": torch.device("cpu"), "threads": 1, "batch": 1, "backend": LatencyBackend("onnxruntime")}
    first, second = (cached_latency(tiny_spec(), tmp_path, **where) for _ in range(2))
    assert first == second > 0
    assert len(list(tmp_path.glob("*onnxruntime*/reference.json"))) == 1


def test_a_missing_program_is_reported_before_a_search_starts() -> None:
    from nasdet.driver.resources import check_latency_backend
    from nasdet.space.schema import LatencyConfig

    with pytest.raises(InputError, match="no such program: /no/such/program; give its path"):
        check_latency_backend(LatencyConfig(backend="command", command="/no/such/program {model}"))
    with pytest.raises(ValueError, match="go together"):
        LatencyConfig(backend="command")
    check_latency_backend(LatencyConfig(backend="command", command=f"{sys.executable} x.py"))


def test_each_condition_is_measured_once_against_one_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def measure(spec: Any, *, device: Any, threads: int, batch: int, quiet: Any) -> Latency:
        asked.append((threads, batch))
        unit = 7.0 + len(asked)  # the reference's time, which differs from one measurement to the next
        return Latency(ms=2 * unit, reference_ms=unit, ratio=2.0, cv=0.0, pairs=30)

    monkeypatch.setattr(latency_module, "measure_latency", measure)

    def latency(threads: int, batch: int, **norm: Any) -> float:
        device = torch.device("cpu")
        return cached_latency(
            tiny_spec(**norm), tmp_path, device=device, threads=threads, batch=batch, backend=LatencyBackend()
        )

    assert [latency(1, 1), latency(1, 1), latency(2, 1), latency(1, 4)] == [16, 16, 18, 20]
    assert latency(1, 1, kind="bn") == 16  # in terms of the first reference
    assert asked == [(1, 1), (2, 1), (1, 4), (1, 1)]


def test_groups_that_measure_first_at_the_same_time_share_a_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(spec: Any, **where: Any) -> Latency:
        (folder,) = tmp_path.iterdir() or [None]
        (folder / "reference.json").write_text('{"ms": 5.0}')  # another group's, meanwhile
        return Latency(ms=16.0, reference_ms=8.0, ratio=2.0, cv=0.0, pairs=30)

    where: Any = {"device": torch.device("cpu"), "threads": 1, "batch": 1, "backend": LatencyBackend()}
    monkeypatch.setattr(latency_module, "measure_latency", lambda *_, **__: Latency(8.0, 8.0, 1.0, 0.0, 30))
    cached_latency(tiny_spec(kind="bn"), tmp_path, **where)  # makes the folder
    monkeypatch.setattr(latency_module, "measure_latency", measure)
    assert cached_latency(tiny_spec(), tmp_path, **where) == 10.0
