"""Where worker groups fetch their jobs. One decision: rank 0 of every group talks to the driver over one TCP connection
of its own, so that neither Ray Tune nor the process that holds a group lies between a job and its result, and a group
that dies is noticed at once, by its connection."""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
import queue
import secrets
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from nasdet.log import logger
from nasdet.trainers.messages import Reply


@dataclasses.dataclass(frozen=True)
class Ticket:
    """What the workers of a group need to reach the driver."""

    address: tuple[str, int]
    key: bytes
    group: str

    def connect(self, rank: int) -> Connection:
        """A connection to the driver for this rank of the group.

        Raises:
            AuthenticationError: what listens there is not the driver.
            OSError: nothing listens there.
        """
        connection = Client(self.address)
        _authenticate(connection, self.key, b"worker", b"driver")
        connection.send((self.group, rank))
        return connection


@dataclasses.dataclass(frozen=True)
class Event:
    """A message of a group's worker, or the end of rank 0's connection."""

    group: str
    rank: int
    connection: Connection
    """What it came through; a group that was started again has another one."""
    reply: Reply | None
    """None: the connection is closed, so the worker has ended."""


class JobServer:
    """Accepts the connections of all groups.

    Args:
        host: address of this machine that the workers can reach.
    """

    def __init__(self, host: str) -> None:
        self._key = secrets.token_bytes(32)
        self._listener = Listener((host, 0), backlog=1024)
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._closed = False
        threading.Thread(target=self._listen, daemon=True, name="job-server").start()

    def ticket(self, group: str) -> Ticket:
        """What the workers of a group need; any text names a group."""
        address: Any = self._listener.address
        return Ticket(address, self._key, group)

    def receive(self, timeout: float) -> Event | None:
        """The next event in the order of arrival; None after `timeout` seconds without one, or after `wake`."""
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            return None

    def wake(self) -> None:
        """Let `receive` return at once."""
        self._events.put(None)

    @property
    def backlog(self) -> int:
        """Events that wait to be received."""
        return self._events.qsize()

    def close(self) -> None:
        """Accept nothing further."""
        self._closed = True
        self._listener.close()

    def _listen(self) -> None:
        """Accept connections. Each is read by a thread of its own, so that a peer that hangs in the middle of the
        handshake or of a message keeps nobody else waiting."""
        while not self._closed:
            try:
                connection = self._listener.accept()
            except OSError:
                if not self._closed:
                    logger.exception("a worker's connection was not accepted")
                    time.sleep(1.0)
                continue
            threading.Thread(target=self._read, args=(connection,), daemon=True, name="job-server-reader").start()

    def _read(self, connection: Connection) -> None:
        group, rank = "", -1
        with contextlib.suppress(EOFError, OSError, AuthenticationError), connection:
            _authenticate(connection, self._key, b"driver", b"worker")
            group, rank = connection.recv()
            while True:
                self._events.put(Event(group, rank, connection, connection.recv()))
        if group and rank == 0:
            self._events.put(Event(group, rank, connection, None))


def send(connection: Connection, message: Any) -> None:
    """Send to a worker; lost where it has ended, which the end of its connection tells."""
    with contextlib.suppress(OSError):
        connection.send(message)


def _authenticate(connection: Connection, key: bytes, own: bytes, other: bytes) -> None:
    """Prove to the other end that this one knows `key`, and have it prove the same, before anything is unpickled.

    Each end sends random bytes and expects their HMAC. The role is part of the message, so that an end without the key
    cannot send a challenge back and return the answer as its own.

    Args:
        connection: to the other end, which calls this too.
        key: of the job server.
        own: role of this end.
        other: role of the other end.

    Raises:
        AuthenticationError: the other end has another key.
    """
    challenge = secrets.token_bytes(32)
    connection.send_bytes(challenge)
    connection.send_bytes(hmac.digest(key, own + connection.recv_bytes(32), "sha256"))
    if not hmac.compare_digest(connection.recv_bytes(32), hmac.digest(key, other + challenge, "sha256")):
        raise AuthenticationError("the other end has another key")
