"""Keeps other libraries' chatter off the user's terminal. One decision: the file descriptors are redirected, not the
loggers, because Ray's processes inherit descriptors and print as they like; the log is quoted when something fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

LOG = "log.txt"
"""Of a study, in its folder."""


@contextmanager
def quiet(log: Path) -> Iterator[TextIO]:
    """Send stdout and stderr of this process and its children to `log`; yields the user's real stderr."""
    sys.stdout.flush()
    sys.stderr.flush()
    log.parent.mkdir(parents=True, exist_ok=True)
    saved = [os.dup(1), os.dup(2)]
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(target, 1)
    os.dup2(target, 2)
    try:
        yield terminal
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        terminal.flush()
        for descriptor, old in zip((1, 2), saved, strict=True):
            os.dup2(old, descriptor)
            os.close(old)
        os.close(target)


def last_lines(log: Path, count: int = 5) -> list[str]:
    """The end of a log, to be quoted with a failure."""
    try:
        return [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-count:]
    except OSError:
        return []
