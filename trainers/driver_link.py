"""A worker's line to the driver. One decision: between two steps, and only there, a worker says that it is alive and
does what the driver asks, so that a sign of life is a sign of progress."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, Literal

from nasdet.trainers.messages import Reply

ALIVE_EVERY = 2.0
"""Seconds between signs of life."""
IDLE_SECONDS = 600.0
"""Interval at which an idle rank 0 broadcasts nothing: the others wait in a collective, which would time out."""
SECONDS_TO_DECODE = 3600.0
"""How long reading a data set for the first time at an input size may take."""
SECONDS_TO_JUDGE = 1800.0
"""How long the figures of a validation set may take, and those of its resampled images."""
STOP: Literal["stop"] = "stop"
PAUSE, GO, ALONE = "pause", "go", "alone"
"""The driver to a group: rest between two steps; go on; nothing else runs on your machine now."""


class Link:
    """The line of a worker that no driver listens to: replies go to a function.

    Args:
        send: takes the replies.
    """

    def __init__(self, send: Callable[[Reply], None] = lambda reply: None) -> None:
        self.send = send

    def step(self) -> None:
        """A step is done."""

    def expect(self, seconds: float) -> None:
        """The next step may take this much longer than usual."""

    @contextlib.contextmanager
    def alone(self, seconds: float) -> Iterator[None]:
        """Nothing else trains on this machine while the block runs, for at most so many seconds."""
        yield


class DriverLink(Link):
    """Rank 0's line.

    Args:
        connection: to the driver's `JobServer`.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.send)
        self._connection = connection
        self._said = 0.0

    def next_job(self) -> Any:
        """The next job, "stop", also if the driver has ended, or None after a while without one."""
        deadline = time.monotonic() + IDLE_SECONDS
        with contextlib.suppress(EOFError, ConnectionError):
            while self._connection.poll(max(0.0, deadline - time.monotonic())):
                message = self._connection.recv()
                if message not in (PAUSE, GO):  # they crossed the end of the job before; an idle worker rests anyway
                    return message
            return None
        return STOP

    def step(self) -> None:
        """Say from time to time that work goes on, and rest while the driver asks for it."""
        now = time.monotonic()
        if now - self._said >= ALIVE_EVERY:
            self._said = now
            self.send(Reply("alive"))
        if self._connection.poll() and self._connection.recv() == PAUSE:
            self.send(Reply("paused"))
            self._wait_for(GO)

    def expect(self, seconds: float) -> None:
        """The next step may take this much longer than usual."""
        self.send(Reply("alive", seconds=seconds))

    @contextlib.contextmanager
    def alone(self, seconds: float) -> Iterator[None]:
        """Have the other groups of this machine rest while the block runs, for at most so many seconds."""
        self.send(Reply("wants_quiet"))
        self._wait_for(ALONE)
        self.expect(seconds)
        try:
            yield
        finally:
            self.send(Reply("measured"))

    def _wait_for(self, wanted: str) -> None:
        while self._connection.recv() != wanted:
            pass
