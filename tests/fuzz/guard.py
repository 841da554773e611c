"""What a reader must not do while it reads a file of somebody else's."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nasdet.errors import InputError
from tests.conftest import REPOSITORY

SECONDS = 5.0
"""Of processor time that one example may take."""
GROWTH = 600 << 10
"""KiB by which examples may raise the process's largest memory."""
_RUNS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "socket.bind")
_CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.truncate")
_READABLE = tuple(
    {sys.prefix, sys.base_prefix, str(REPOSITORY), *sysconfig.get_paths().values(), *sys.path[1:], "/proc", "/sys"}
    | {"/dev/null", "/dev/urandom", "/etc", "/usr"}
)
"""Where Python and its packages are; what a reader imports late, or asks of the machine."""


class Guard:
    """Watches what the process does, by Python's audit events; what C code does without Python is not seen."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.examples, self.seconds = folder, 0, 0.0
        self._writable = (
            str(folder.resolve()),
            str(folder),
            os.environ["NASDET_HOME"],
            tempfile.gettempdir() + "/torch",
        )
        self._active, self._wrong = False, list[str]()
        self._memory = 0
        sys.addaudithook(self._event)

    def _event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._active:
            return
        if event == "open":
            path, mode, flags = arguments
            written = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) if mode is None else set("wax+") & set(mode)
            if isinstance(path, str | bytes) and not self._allowed(path, bool(written)):
                self._wrong.append(f"{'write' if written else 'read'} {path!r}")
        elif event in _RUNS or (event in _CHANGES and not self._allowed(arguments[0], True)):
            self._wrong.append(f"{event} {arguments!r}"[:200])

    def _allowed(self, path: Any, written: bool) -> bool:
        if not isinstance(path, str | bytes):
            return True
        full = os.path.abspath(os.fsdecode(path))
        return full.startswith(self._writable) or (not written and full.startswith(_READABLE))

    @contextlib.contextmanager
    def example(self) -> Iterator[None]:
        """One example: whatever happens inside must be fine, or an `InputError` of one line."""
        start = time.process_time()
        self._wrong.clear()
        self._active = True
        try:
            yield
        except InputError as error:
            assert str(error).strip() and "Traceback" not in str(error)
            assert len(str(error)) < 4800, str(error)[:5000]
        finally:
            self._active = False
            used = time.process_time() - start
            self.examples += 1
            self.seconds += used
        assert not self._wrong, self._wrong
        assert used < SECONDS, f"{used:.1f} s"
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._memory = self._memory or memory
        assert memory - self._memory < GROWTH, f"{(memory - self._memory) / 1e6:.1f} GB more"
