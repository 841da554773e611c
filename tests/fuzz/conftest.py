"""Property-based tests of everything that reads what others wrote: the answer is a fine result or an `InputError` of
one line, soon, in little memory, and nothing is run, and nothing read or written outside the folder.

`make test` draws a few examples of each test, the same every time. `make fuzz` draws new ones for `NASDET_FUZZ_SECONDS`
of processor time a test and keeps what failed in `.hypothesis/`, so that the next run begins with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.conftest import REPOSITORY
from tests.fuzz.guard import Guard

SECONDS = float(os.environ.get("NASDET_FUZZ_SECONDS", 0))
_COUNTS: dict[str, tuple[int, float]] = {}

settings.register_profile(
    "quick", max_examples=8, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.register_profile(
    "long", max_examples=500, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True,
    database=DirectoryBasedExampleDatabase(REPOSITORY / ".hypothesis"),
)  # fmt: skip
settings.load_profile("long" if SECONDS else "quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.fuzz)


@pytest.fixture
def guard(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Guard]:
    """Allows a test its own folder only."""
    guard = Guard(tmp_path)
    start = time.process_time()
    yield guard
    _COUNTS[request.node.name] = guard.examples, time.process_time() - start


@pytest.fixture
def again() -> Callable[[Callable[[], None]], None]:
    """Runs a property once, or until the processor time of a test is used up, that of drawing examples included."""
    start = time.process_time()

    def run(check: Callable[[], None]) -> None:
        check()
        while time.process_time() - start < SECONDS:
            check()

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if SECONDS and _COUNTS:
        for name, (examples, seconds) in _COUNTS.items():
            terminalreporter.write_line(f"{name}: {examples} examples in {seconds:.0f} s")
        total = [sum(column) for column in zip(*_COUNTS.values(), strict=True)]
        terminalreporter.write_line(f"fuzz: {total[0]:.0f} examples in {total[1]:.0f} processor seconds")
