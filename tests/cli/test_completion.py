"""Completion in the shell: the documented lines, and what Tab gives in bash."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nasdet.cli.main import COMMANDS


@pytest.fixture
def environment(tmp_path: Path, repository: Path) -> dict[str, str]:
    """In which `nasdet` is this checkout."""
    program = tmp_path / "bin" / "nasdet"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from nasdet.cli.main import main; main()" "$@"\n')
    program.chmod(0o755)
    search = os.pathsep.join(filter(None, (str(repository), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": search}


def completed(line: str, environment: dict[str, str]) -> list[str]:
    """What click proposes for the last word of a line, as `kind,word`."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_NASDET_COMPLETE": "bash_complete"}
    done = subprocess.run(["nasdet"], env={**environment, **words}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_options_choices_and_paths(environment: dict[str, str]) -> None:
    assert completed("nasdet ", environment) == [f"plain,{name}" for name in COMMANDS]
    assert completed("nasdet par", environment) == ["plain,pareto"]
    assert completed("nasdet pareto --p", environment) == ["plain,--plot"]
    assert completed("nasdet analyze --what s", environment) == ["plain,spectrum"]
    assert completed("nasdet search spaces/m", environment) == ["file,spaces/m"]
    assert completed("nasdet train best --data im", environment) == ["file,im"]
    assert completed("nasdet pareto --plot fr", environment) == ["file,fr"]
    assert completed("nasdet paretto --p", environment) == []


def test_the_documented_line_works_in_bash(environment: dict[str, str], repository: Path) -> None:
    text = (repository / "docs" / "running.md").read_text()
    lines = re.findall(r"^.*_NASDET_COMPLETE=.*$", text, re.MULTILINE)
    bash = next(line for line in lines if "bash" in line)
    asked = 'COMP_WORDS=(nasdet exp); COMP_CWORD=1; _nasdet_completion nasdet; echo "${COMPREPLY[@]}"'
    script = f"{bash}\ncomplete -p nasdet\n{asked}\n"
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["complete", "-o", "nosort", "-F", "_nasdet_completion", "nasdet", "export"]
    for shell in ("zsh", "fish"):
        assert any(f"_NASDET_COMPLETE={shell}_source nasdet" in line for line in lines)
        env = {**environment, "_NASDET_COMPLETE": f"{shell}_source"}
        done = subprocess.run(["nasdet"], env=env, capture_output=True, text=True, check=True)
        assert f"_NASDET_COMPLETE={shell}_complete" in done.stdout
