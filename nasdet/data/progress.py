"""How far a long reading is, on a terminal: nothing in the first two seconds, and nothing where standard error is a
file, a notebook or another program."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

_SILENT, _EVERY = 2.0, 0.25
"""Seconds before the first line, and between two."""


class ReadingProgress:
    """A line that counts, and goes when the work is done.

    Example:
        >>> with ReadingProgress("images decoded", len(paths)) as progress:
        ...     for path in paths:
        ...         progress.advance()
    """

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._next = time.monotonic() + _SILENT
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._width:
            print("\r" + " " * self._width, end="\r", file=sys.stderr, flush=True)

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self._done += count
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY
        if sys.stderr is not None and sys.stderr.isatty():
            line = f"{self._done:,} of {self._total:,} {self._what}"
            self._width = max(self._width, len(line))
            print("\r" + line.ljust(self._width), end="", file=sys.stderr, flush=True)
