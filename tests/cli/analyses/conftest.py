"""A bundle trained for a few steps, and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nasdet.cli.analyze import command
from nasdet.export import Bundle
from tests.analysis.conftest import digits_bundle_in


@pytest.fixture(scope="session")
def digits_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return digits_bundle_in(tmp_path_factory.mktemp("bundles") / "digits")


@pytest.fixture
def analyze() -> Callable[..., Any]:
    """Run `nasdet analyze` with --json; what it printed."""

    def run(bundle: Path, *options: str) -> Any:
        done = CliRunner().invoke(command, [str(bundle), "--json", *options], catch_exceptions=False)
        return json.loads(done.stdout)

    return run
