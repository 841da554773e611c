"""Keeps other libraries' messages off the user's terminal. One decision: the file descriptors are redirected, not the
loggers, because Ray's processes inherit descriptors and print as they like; the log is quoted when something fails."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from nasdet.log import log_to


@contextlib.contextmanager
def redirect_output(log: Path) -> Iterator[TextIO]:
    """Send stdout and stderr of this process and its children, and what nasdet logs, to `log`; yields the user's real
    stderr."""
    sys.stdout.flush()
    sys.stderr.flush()
    log.parent.mkdir(parents=True, exist_ok=True)
    saved = [os.dup(1), os.dup(2)]
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    try:
        with log_to(log):
            yield terminal
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        with contextlib.suppress(OSError):  # the reader of the terminal may be gone
            terminal.flush()
        for descriptor, old in zip((1, 2), saved, strict=True):
            os.dup2(old, descriptor)
            os.close(old)


@contextlib.contextmanager
def study_output(log: Path, output: TextIO | None, *, redirect: bool) -> Iterator[TextIO]:
    """`redirect_output`, or just nasdet's own log; yields the stream for progress: `output` where it is given."""
    if redirect:
        with redirect_output(log) as terminal:
            yield output or terminal
    else:
        with log_to(log):
            yield output or sys.stdout


def last_lines(log: Path, count: int = 5) -> list[str]:
    """The end of a log, to be quoted with a failure."""
    try:
        return [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-count:]
    except OSError:
        return []
