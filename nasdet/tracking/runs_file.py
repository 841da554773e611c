"""`tracking.jsonl` in the study folder: which MLflow run is which trial.

A study is known to MLflow by a random key that is written here before its first run, and not by its name: a new study
of an old name never continues the old one's runs, and a moved study keeps its own.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Literal, cast

FILE = "tracking.jsonl"
PARENT = ""
MirrorState = Literal["", "running", "whole", "lacking"]
"""Whether MLflow holds the study: never tracked, being written (or cut off by a crash), complete, or incomplete."""


def study_key(study_dir: Path) -> str:
    """The study's key, made on first use."""
    path = study_dir / FILE
    for line in _lines(path):
        if "key" in line:
            return line["key"]
    key = uuid.uuid4().hex
    _append(path, {"key": key})
    return key


def add_run(study_dir: Path, trial: str, run_id: str) -> None:
    """Note the run of a trial; `PARENT` is the study's own."""
    _append(study_dir / FILE, {"trial": trial, "run_id": run_id})


def run_ids(study_dir: Path) -> dict[str, str]:
    """Run id by trial, without the parent; empty for a study that was never tracked."""
    runs = {line["trial"]: line["run_id"] for line in _lines(study_dir / FILE) if "run_id" in line}
    runs.pop(PARENT, None)
    return runs


def parent_run_id(study_dir: Path) -> str:
    """Run id of the study itself; "" for a study that was never tracked."""
    found = [line["run_id"] for line in _lines(study_dir / FILE) if line.get("trial") == PARENT]
    return found[-1] if found else ""


def note_mirror(study_dir: Path, state: MirrorState) -> None:
    """Note whether MLflow holds the study from now on."""
    _append(study_dir / FILE, {"mirror": state})


def mirror_state(study_dir: Path) -> MirrorState:
    """Whether MLflow holds the study, by the last note."""
    states = [line["mirror"] for line in _lines(study_dir / FILE) if "mirror" in line]
    return cast(MirrorState, states[-1]) if states else ""


def _append(path: Path, line: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        # The leading newline ends a line that a crash cut off.
        file.write("\n" + json.dumps(line) + "\n")


def _lines(path: Path) -> list[dict[str, str]]:
    """The complete lines; one that a crash cut off is skipped."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines
