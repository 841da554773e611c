"""The layout other tools rely on."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["trainers", "analysis"])
def test_linked_packages(repository: Path, name: str) -> None:
    link = repository / "nasdet" / name
    assert link.is_symlink() and link.readlink() == Path("..", name)
    code = f"import nasdet.{name}; print(nasdet.{name}.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith(f"nasdet/{name}/__init__.py")
    bare = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=repository, capture_output=True, text=True)
    assert bare.returncode == 1 and "ImportError" in bare.stderr and f"import nasdet.{name}" in bare.stderr


def test_every_package_is_shipped(repository: Path) -> None:
    listed = set(tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {".".join(p.parent.relative_to(repository).parts) for p in repository.glob("nasdet/**/__init__.py")}
    for linked in ("trainers", "analysis"):  # rglob does not follow links
        files = (repository / linked).rglob("__init__.py")
        found |= {".".join(("nasdet", *p.parent.relative_to(repository).parts)) for p in files}
    found |= {"nasdet.trainers.recipes"}  # data, which setuptools takes for a package
    assert listed == found


@pytest.mark.parametrize("folder", ["trainers/recipes", "analysis/templates"])
def test_files_that_are_no_code_are_shipped(repository: Path, folder: str) -> None:
    data = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    patterns = data["nasdet." + folder.replace("/", ".")]
    files = {p.name for p in (repository / folder).iterdir() if p.is_file() and p.suffix != ".py"}
    assert files == {p.name for pattern in patterns for p in (repository / folder).glob(pattern)}
    assert files


def test_tests_mirror_the_code(repository: Path) -> None:
    """Each test file in the folder of a package is named after a module of that package."""
    for package in ("search", "trainers", "models", "data", "space", "evaluation", "export", "tracking", "analysis"):
        for folder in {p.parent for p in (repository / "tests" / package).rglob("test_*.py")}:
            code = repository / "nasdet" / folder.relative_to(repository / "tests")
            modules = {p.stem for p in code.glob("*.py")} | {p.parent.name for p in code.glob("*/__init__.py")}
            extra = {p.stem.removeprefix("test_") for p in folder.glob("test_*.py")} - modules
            assert not extra - ALLOWED, (folder, extra)


ALLOWED = {"ddp", "cuda", "bad_input", "layouts", "bundled", "systems", "reproducible", "edges", "sizes"}
"""Tests of what several modules do together."""


def test_commands_of_the_makefile(repository: Path) -> None:
    text = (repository / "Makefile").read_text()
    for target in ("search", "test", "test-all", "lint", "bench", "docs", "clean"):
        assert f"\n{target}:" in text
    steps = (repository / ".ci" / "run").read_text().splitlines()
    assert "make test" in steps and "make docs" in steps
