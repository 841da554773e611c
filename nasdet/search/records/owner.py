"""The one process that writes a study.

One decision: it holds a lock of the operating system on a file in the study's folder, which a process loses when it
dies, however it dies, also over NFS. Where a file system has no locks, the owner holds a lease instead: a file that it
renews every few seconds, and that counts as given up once it has not been renewed for `LEASE_SECONDS`.

Reading a study needs no lock and takes none.
"""

from __future__ import annotations

import _thread
import contextlib
import dataclasses
import datetime
import errno
import json
import os
import secrets
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from nasdet.errors import InputError
from nasdet.files import atomic_write
from nasdet.log import logger

BASELINE = "random"
"""Folder of a study's baseline in the study's own folder."""
LOCK = "owner.json"
"""The locked file; it says who holds the lock."""
LEASE = "owner.lease"
"""The same where there are no locks; it exists while a process owns the study, or after that process died."""
LEASE_SECONDS = 30.0
"""A lease that was not renewed for so long belongs to nobody."""
RENEWALS = 6
"""How often a lease is renewed in `LEASE_SECONDS`."""
_HELD_ELSEWHERE = (errno.EACCES, errno.EAGAIN)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@dataclasses.dataclass(frozen=True)
class Owner:
    """The process that works on a study."""

    host: str
    pid: int
    since: float
    """Seconds since the epoch."""

    @classmethod
    def myself(cls) -> Owner:
        """This process, from now on."""
        return cls(socket.gethostname(), os.getpid(), time.time())

    def __str__(self) -> str:
        if not self.pid:
            return "it has not said which"
        since = datetime.datetime.fromtimestamp(self.since)
        return f"process {self.pid} on {self.host}, since {since:%Y-%m-%d %H:%M:%S}"


UNKNOWN = Owner("", 0, 0.0)
"""An owner that has not written its name yet, or died before it did."""


@dataclasses.dataclass
class _Held:
    """A study that this process owns."""

    owner: Owner
    thread: int
    release: contextlib.ExitStack
    depth: int = 1


_held: dict[Path, _Held] = {}
_mutex = threading.RLock()
"""Around `_held`, and around every look at a lock file: a process loses its lock on a file as soon as it closes any
handle of that file, so nothing here opens the file of a study that this process owns."""


@contextlib.contextmanager
def own(folder: Path) -> Iterator[None]:
    """Be the only process, and in it the only thread, that writes the study in `folder` while the block runs. The same
    thread may enter again. The folder is made if there is none, and goes again if it is still empty at the end. The
    owner of a study owns its baseline.

    Raises:
        InputError: another one owns the study, or the folder cannot be written.
    """
    folder = _whole(folder)
    key = folder.resolve()
    with _mutex:
        held = _held.get(key)
        if held is not None and held.owner.pid == os.getpid():  # else this process was forked from the owner
            if held.thread != threading.get_ident():
                raise _refusal(folder, held.owner)
            held.depth += 1
        else:
            held = _held[key] = _take(folder)
    try:
        yield
    finally:
        with _mutex:
            held.depth -= 1
            if not held.depth:
                del _held[key]
                held.release.close()


def owner_of(folder: Path) -> Owner | None:
    """The process that owns the study now; None if there is none, or it has died."""
    folder = _whole(folder)
    with _mutex:
        held = _held.get(folder.resolve())
        if held is not None and held.owner.pid == os.getpid():
            return held.owner
        if lease := _read_lease(folder):
            # Clocks of two machines may differ, but this only informs: `_take_lease` does not compare clocks.
            return lease.owner if time.time() - lease.renewed < LEASE_SECONDS and not _is_gone(lease.owner) else None
        try:
            handle = os.open(folder / LOCK, os.O_RDONLY)
        except OSError:
            return None
        try:
            return _read_owner(folder) if _is_locked(handle) else None
        finally:
            os.close(handle)


def _whole(folder: Path) -> Path:
    """The folder of the study that this one is the baseline of; else its own."""
    parent = folder.absolute().parent
    return parent if folder.name == BASELINE and (parent / "study.json").is_file() else folder


class InUse(InputError):
    """Another process owns the study."""


def _refusal(folder: Path, owner: Owner | None) -> InUse:
    what = f"another process works on this study: {owner or UNKNOWN}"
    return InUse(what, where=str(folder), remedy="wait until it ends, or stop it there with Ctrl-C")


def _take(folder: Path) -> _Held:
    """Become the owner, by a lock or else by a lease."""
    me = Owner.myself()
    with contextlib.ExitStack() as release:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = _lock(folder)
            if handle is None:
                _take_lease(folder, me, release)
            else:
                release.callback(_unlock, folder, handle)
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps(dataclasses.asdict(me)).encode(), 0)
        except OSError as error:
            raise InputError(f"cannot write here ({error.strerror})", where=str(folder)) from error
        return _Held(me, threading.get_ident(), release.pop_all())


def _lock(folder: Path) -> int | None:
    """A locked handle of the file; None where there are no locks."""
    if fcntl is None:
        return None
    path = folder / LOCK
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A former owner may have deleted the file after it was opened here: a lock on it would lock out nobody.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return handle
        except OSError as error:
            os.close(handle)
            if error.errno in _HELD_ELSEWHERE:
                raise _refusal(folder, _read_owner(folder)) from None
            if error.errno in _NO_LOCKS:
                path.unlink(missing_ok=True)
                return None
            raise
        os.close(handle)


def _unlock(folder: Path, handle: int) -> None:
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)  # a file that names an owner and is not locked means that the owner died
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()
    os.close(handle)


def _is_locked(handle: int) -> bool:
    """Whether another process holds a lock on a file; takes none itself, unlike everything that `fcntl.lockf` does."""
    if fcntl is None:
        return False
    # struct flock: type, whence, start, length, process; macOS has another order.
    linux = sys.platform != "darwin"
    layout = "hhqqi4x" if linux else "qqihh"
    free = (fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0) if linux else (0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
    try:
        found = struct.unpack(layout, fcntl.fcntl(handle, fcntl.F_GETLK, struct.pack(layout, *free)))
    except OSError:
        return False
    return bool(found[0 if linux else 3] != fcntl.F_UNLCK)


def _read_owner(folder: Path) -> Owner | None:
    """Who the locked file names; an owner writes its name just after it has the lock."""
    for _ in range(20):
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Owner(**json.loads((folder / LOCK).read_text()))
        time.sleep(0.05)
    return None


@dataclasses.dataclass(frozen=True)
class _Lease:
    owner: Owner
    token: str
    """Another one for each owner."""
    renewed: float
    """Seconds since the epoch, by the owner's clock."""

    def text(self) -> str:
        return json.dumps({**dataclasses.asdict(self.owner), "token": self.token, "renewed": self.renewed})


def _read_lease(folder: Path) -> _Lease | None:
    try:
        values = json.loads((folder / LEASE).read_text())
        return _Lease(Owner(values["host"], values["pid"], values["since"]), values["token"], values["renewed"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # its writer died, or is still writing
        return _Lease(UNKNOWN, "", 0.0)


def _is_gone(owner: Owner) -> bool:
    """Whether a process was on this machine and is not any more."""
    if owner.host != socket.gethostname() or owner.pid <= 0:
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _take_lease(folder: Path, me: Owner, release: contextlib.ExitStack) -> None:
    """Own the study by a lease, which a thread renews until `release` is closed."""
    path, token = folder / LEASE, secrets.token_hex(8)
    while True:
        try:
            # Of several processes that make the same file, one succeeds.
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            _drop_dead_lease(folder)
            continue
        with os.fdopen(handle, "w") as file:
            file.write(_Lease(me, token, time.time()).text())
        break
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(LEASE_SECONDS / RENEWALS):
            now = _read_lease(folder)
            if now is not None and now.token not in (token, ""):  # it was suspended for so long that it counts as dead
                logger.error("%s: %s works here now; this process has lost the study and ends", folder, now.owner)
                _thread.interrupt_main()
                return
            with contextlib.suppress(OSError):
                atomic_write(path, _Lease(me, token, time.time()).text())

    thread = threading.Thread(target=renew, name="nasdet-lease", daemon=True)
    thread.start()
    release.callback(_unlease, path, token)
    release.callback(thread.join)
    release.callback(ended.set)
    logger.warning("%s: this file system has no locks; a lease of %g s says who works here", folder, LEASE_SECONDS)


def _unlease(path: Path, token: str) -> None:
    now = _read_lease(path.parent)
    with contextlib.suppress(OSError):
        if now is not None and now.token not in (token, ""):
            return  # another one's
        path.unlink(missing_ok=True)
        path.parent.rmdir()  # only if it is empty


def _drop_dead_lease(folder: Path) -> None:
    """Delete the lease of an owner that died; raises if it lives. Renewals are counted by looking at the file, because
    the clocks of two machines may differ."""
    first = _read_lease(folder)
    if first is None:
        return
    deadline = time.monotonic() + LEASE_SECONDS
    while not _is_gone(first.owner) and time.monotonic() < deadline:
        time.sleep(LEASE_SECONDS / RENEWALS / 4)
        now = _read_lease(folder)
        if now is not None and now != first:
            raise _refusal(folder, now.owner)
    # Renamed before it is deleted: of several processes that wait for it, one succeeds.
    if _read_lease(folder) == first:
        dead = folder / f"{LEASE}.{secrets.token_hex(4)}"
        with contextlib.suppress(FileNotFoundError):
            (folder / LEASE).rename(dead)
            if json.loads(dead.read_text() or "{}").get("token", "") not in (first.token, ""):
                dead.rename(folder / LEASE)  # another one was quicker, and this is already its own
                return
            dead.unlink()
