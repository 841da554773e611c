"""Copies of empty studies, since making the tables of a new database takes a while."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nasdet.search import StudyStore
from nasdet.study_config import StudyConfig
from tests.search.conftest import toy


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty") / "toy-1"
    return StudyStore.create(folder, StudyConfig(study="toy-1", data="none"), toy()).dir


@pytest.fixture
def store(empty: Path, tmp_path: Path) -> StudyStore:
    return StudyStore.open(shutil.copytree(empty, tmp_path / "toy-1"))
