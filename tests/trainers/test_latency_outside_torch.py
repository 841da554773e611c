"""The judge of a candidate's latency: ONNX Runtime, or a real script."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import torch

from nasdet.errors import InputError, TrialFailure
from nasdet.trainers.latency_cache import Judge, cached_latency
from nasdet.trainers.latency_outside_torch import command_latency
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


def script(folder: Path, text: str) -> str:
    (folder / "judge.py").write_text(text)
    return f"{sys.executable} judge.py {{model}} {{shape}}"


def test_a_command_judges_once(tmp_path: Path) -> None:
    judge = Judge("command", script(tmp_path, COUNTING), folder=str(tmp_path))
    spec, where = tiny_spec(), {"device": torch.device("cpu"), "threads": 1, "batch": 2}
    assert [cached_latency(spec, tmp_path / "cache", judge=judge, **where) for _ in range(2)] == [2.5, 2.5]
    size = spec.input
    assert (tmp_path / "calls").read_text() == f"2x{size.channels}x{size.height}x{size.width}\n"
    other = Judge("command", judge.command + " again", folder=str(tmp_path))
    cached_latency(spec, tmp_path / "cache", judge=other, **where)
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
def test_what_fails_the_candidate(tmp_path: Path, text: str, message: str) -> None:
    timeout = 0.5 if "sleep" in text else 60.0
    with pytest.raises(TrialFailure) as error:
        command_latency(tiny_spec(), script(tmp_path, text), folder=str(tmp_path), timeout=timeout, batch=1)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_what_takes_too_long_ends_with_all_that_it_started(tmp_path: Path) -> None:
    late = "import time; time.sleep(2); open('late', 'w').close()"
    text = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {late!r}])"
    with pytest.raises(TrialFailure, match=r"more than 0\.5 s"):
        command_latency(tiny_spec(), script(tmp_path, text), folder=str(tmp_path), timeout=0.5, batch=1)
    time.sleep(3)
    assert not (tmp_path / "late").exists()


def test_a_command_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(TrialFailure, match=r"cannot be run \(No such file"):
        command_latency(tiny_spec(), "/no/such/judge", folder=str(tmp_path), timeout=9, batch=1)


def test_onnxruntime_judges_beside_the_reference(tmp_path: Path) -> None:
    where = {"device": torch.device("cpu"), "threads": 1, "batch": 1, "judge": Judge("onnxruntime")}
    first, second = (cached_latency(tiny_spec(), tmp_path, **where) for _ in range(2))
    assert first == second > 0
    assert len(list(tmp_path.glob("*onnxruntime*/reference.json"))) == 1


def test_the_search_is_told_before_it_starts() -> None:
    from nasdet.driver.resources import check_judge
    from nasdet.space.schema import LatencyConfig

    with pytest.raises(InputError, match="no such program: /no/such/judge; give its path"):
        check_judge(LatencyConfig(backend="command", command="/no/such/judge {model}"))
    with pytest.raises(ValueError, match="go together"):
        LatencyConfig(backend="command")
    check_judge(LatencyConfig(backend="command", command=f"{sys.executable} x.py"))
