from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nasdet.errors import InputError
from nasdet.search import Study, StudyStore
from nasdet.search.records import owner
from nasdet.search.records.owner import LEASE, LOCK, own, owner_of

HOLD = """
import sys, time
from pathlib import Path
from nasdet.search.records import owner
if sys.argv[2] == "lease":
    def lockf(*arguments):
        raise OSError(37, "no locks available")
    owner.fcntl.lockf, owner.LEASE_SECONDS = lockf, 3.0
with owner.own(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the study in `tmp_path / "s"`, by a lock or, as parameter, a lease."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "s"), getattr(request, "param", "lock")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "mine\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks."""

    def lockf(handle: int, command: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(owner.fcntl, "lockf", lockf)
    monkeypatch.setattr(owner, "LEASE_SECONDS", 3.0)


def test_the_second_process_is_told_who_the_first_is(other: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused, own(tmp_path / "s"):
        pytest.fail("two owners")
    line = str(refused.value)
    who = rf"process {other.pid} on {re.escape(socket.gethostname())}, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.search(rf"another process works on this study: {who}; wait until it ends", line) and "\n" not in line
    found = owner_of(tmp_path / "s")
    assert found is not None and (found.host, found.pid) == (socket.gethostname(), other.pid)


def test_a_dead_process_owns_nothing(other: subprocess.Popen[str], tmp_path: Path) -> None:
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert json.loads((tmp_path / "s" / LOCK).read_text())["pid"] == other.pid  # it had no time to tidy up
    assert owner_of(tmp_path / "s") is None
    with own(tmp_path / "s"):
        found = owner_of(tmp_path / "s")
        assert found is not None and found.pid == os.getpid()
    assert owner_of(tmp_path / "s") is None


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("other", ["lease"], indirect=True)
def test_without_locks_a_lease_says_who_works(other: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"process {other.pid} on"), own(tmp_path / "s"):
        pytest.fail("two owners")
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert (tmp_path / "s" / LEASE).exists() and owner_of(tmp_path / "s") is None
    with own(tmp_path / "s"):
        assert owner_of(tmp_path / "s") is not None
    assert not (tmp_path / "s").exists()


@pytest.mark.usefixtures("no_locks")
def test_a_lease_of_another_machine_is_over_when_it_is_not_renewed(tmp_path: Path) -> None:
    far = {"host": "far-away", "pid": os.getpid(), "since": 0.0, "token": "a", "renewed": time.time() + 1e6}
    (tmp_path / LEASE).write_text(json.dumps(far))  # by a clock that is far ahead
    start = time.monotonic()
    with own(tmp_path):
        assert time.monotonic() - start >= 3.0


def test_who_was_suspended_for_too_long_leaves_the_study_to_its_successor(
    no_locks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = threading.Event()
    monkeypatch.setattr(owner._thread, "interrupt_main", interrupted.set)
    with own(tmp_path):
        lease = json.loads((tmp_path / LEASE).read_text())
        (tmp_path / LEASE).write_text(json.dumps({**lease, "host": "another", "token": "of another"}))
        assert interrupted.wait(3.0)
    assert json.loads((tmp_path / LEASE).read_text())["token"] == "of another"


def test_another_thread_is_another_owner(tmp_path: Path) -> None:
    said: list[str] = []

    def attempt() -> None:
        try:
            with own(tmp_path / "s"):
                said.append("mine")
        except InputError as error:
            said.append(str(error))

    with own(tmp_path / "s"), own(tmp_path / "s"):  # this thread may enter twice
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert f"process {os.getpid()} on" in said[0] and said[1] == "mine"


def test_the_owner_of_a_study_owns_its_baseline(store: StudyStore) -> None:
    (store.dir / "random").mkdir()
    with own(store.dir / "random"):
        found = owner_of(store.dir)
    assert found is not None and not (store.dir / "random" / LOCK).exists()


def test_a_loop_of_ones_own_owns_its_study(store: StudyStore) -> None:
    study = Study(store.space, store=store)
    assert owner_of(store.dir) is not None
    study.close()
    assert owner_of(store.dir) is None
    study = Study(store.space, store=store)
    del study  # never closed
    assert owner_of(store.dir) is None


def test_readers_own_nothing(store: StudyStore) -> None:
    StudyStore.open(store.dir)
    assert owner_of(store.dir) is None and not (store.dir / LOCK).exists()


def test_what_nobody_wrote_into_goes_again(tmp_path: Path) -> None:
    with own(tmp_path / "a" / "s"):
        pass
    assert not (tmp_path / "a" / "s").exists()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write here"), own(tmp_path / "file"):
        pass
