"""docs/notebook.ipynb runs: without Ray, with a Ray of the caller's own, which is still up afterwards, and in a fresh
process."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import nasdet
from nasdet.driver.resources import cpu_count
from tests.driver.conftest import without_ray  # noqa: F401


def cells(repository: Path) -> list[str]:
    notebook = json.loads((repository / "docs" / "notebook.ipynb").read_text())
    assert all(not cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(cell: str, names: dict[str, Any]) -> Any:
    """What a kernel does: execute a cell, and give the value of the expression in its last line, if it is one."""
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def run_all(repository: Path) -> None:
    names: dict[str, Any] = {}
    shown = [run(cell, names) for cell in cells(repository)]
    study, detector = names["study"], names["detector"]
    assert len(study.front) >= 1 and any(isinstance(value, nasdet.Study) for value in shown)
    assert detector.path == Path("trained") and detector.training["epochs"] == len(names["losses"])
    assert len(names["found"]) == 3 and Path("trained", "model_nms.onnx").is_file()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASDET_NOTEBOOK_TRIALS", "1")
    monkeypatch.setenv("NASDET_NOTEBOOK_EPOCHS", "1")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_cell(repository: Path, small: None, without_ray: None) -> None:  # noqa: F811
    run_all(repository)


@pytest.mark.slow  # the same cells; that a search leaves the caller's Ray up is also tested with the driver
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_with_a_ray_of_ones_own(repository: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setenv("RAY_worker_niceness", "0")  # Ray's own 15 lets other processes starve the training
    was_up = ray.is_initialized()
    if not was_up:
        ray.init(num_cpus=cpu_count(), include_dashboard=False, log_to_driver=False)
    try:
        run_all(repository)
        assert ray.is_initialized() and ray.get(ray.put(3)) == 3
    finally:
        if not was_up:
            ray.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_in_a_fresh_process(repository: Path, tmp_path: Path) -> None:
    text = "\n".join(cells(repository))
    environment = {**os.environ, "NASDET_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "ended: t0" in done.stdout and "loss " in done.stdout and "ONNX Runtime agrees" in done.stdout
