"""A bundle trained for a few steps."""

from __future__ import annotations

import pytest

from nasdet.export import Bundle
from tests.analysis.conftest import digits_bundle_in


@pytest.fixture(scope="session")
def digits_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return digits_bundle_in(tmp_path_factory.mktemp("bundles") / "digits")
