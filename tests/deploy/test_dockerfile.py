"""`deploy/Dockerfile`: what it copies exists and suffices, and what it installs is what pyproject.toml offers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """(instruction, its text) in order, continuation lines joined and comments left out."""
    text = (Path(__file__).parents[2] / "deploy" / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    return tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def of(instructions: list[tuple[str, str]], kind: str) -> list[str]:
    return [text for name, text in instructions if name == kind]


def test_the_linter_has_no_objection(repository: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, repository / "deploy" / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_both_kinds_of_machine(instructions: list[tuple[str, str]], project: dict[str, object]) -> None:
    stages = of(instructions, "FROM")
    assert stages == ["python:${PYTHON}-slim AS base", "base AS cpu", "base AS cuda"]
    (python,) = re.findall(r"PYTHON=(\S+)", " ".join(of(instructions, "ARG")))
    constraints = (Path(__file__).parents[2] / "constraints.txt").read_text()
    assert f"(Python {python}," in constraints  # the versions that are pinned were tested with it
    least = str(project["requires-python"]).removeprefix(">=")
    assert tuple(map(int, python.split("."))) >= tuple(map(int, least.split(".")))
    assert f'image.version="{project["version"]}"' in " ".join(of(instructions, "LABEL"))


def test_what_is_installed(instructions: list[tuple[str, str]], project: dict[str, object]) -> None:
    installs = [text for text in of(instructions, "RUN") if "uv pip install" in text]
    assert ["--torch-backend cpu" in text for text in installs] == [True, False]
    offered = project["optional-dependencies"]
    assert isinstance(offered, dict)
    for text in installs:
        assert "--constraints constraints.txt" in text
        (extras,) = re.findall(r"'\.\[(.+?)\]'", text)
        assert {"cluster", "onnx"} == set(extras.split(",")) <= set(offered)


def test_what_is_copied_suffices_to_build(
    instructions: list[tuple[str, str]], repository: Path, tmp_path: Path, project: dict[str, object]
) -> None:
    """A wheel from the copied files alone has every package and search space, and nothing of deploy/."""
    context = tmp_path / "context"
    context.mkdir()
    for text in of(instructions, "COPY"):
        *sources, target = text.split()
        for source in sources:
            assert (repository / source).exists(), source
            if (repository / source).is_dir():
                unwanted = shutil.ignore_patterns("__pycache__")
                shutil.copytree(repository / source, context / target, symlinks=True, ignore=unwanted)
            else:
                shutil.copy(repository / source, context / target)
    code = f"from setuptools.build_meta import build_wheel; print(build_wheel({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=context, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    files = zipfile.ZipFile(tmp_path / done.stdout.splitlines()[-1]).namelist()
    assert {"nasdet/trainers/worker.py", "nasdet/analysis/templates/report.css"} <= set(files)
    spaces = {Path(name).name for name in files if "share/nasdet/search_spaces/" in name}
    assert spaces == {path.name for path in (repository / "search_spaces").glob("*.*")}
    assert not [name for name in files if name.startswith("deploy")]
