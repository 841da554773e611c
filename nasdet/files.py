"""Files that a reader sees whole or not at all, also after a crash of the machine, and names that users write."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def exists(path: Path) -> bool:
    """Whether there is a file or folder; not, where no file can have that name, at which `Path.exists` raises."""
    try:
        return path.exists()
    except (OSError, ValueError):  # it is too long, or holds a NUL
        return False


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Where to write the new content of `path`, which it becomes when the block ends without an exception.

    The file is on the disk when the block has ended. Threads and processes that write the same file at the same time do
    not disturb each other; the last one to end wins. The folder is made if there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name is new in each call: writers in two threads of one process must not share it.
    part = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        yield part
        _flush(part)
        part.replace(path)
        _flush(path.parent)  # the new name is an entry of the folder
    finally:
        part.unlink(missing_ok=True)


def remove_half_written(folder: Path) -> None:
    """Delete what writers that were killed left in a folder; nobody else may be writing there."""
    for part in folder.glob("*.part"):
        part.unlink(missing_ok=True)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a whole file as `atomic_path` does; text as UTF-8."""
    with atomic_path(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def _flush(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def previous(path: Path) -> Path:
    """Where the content that `path` had before its last change is kept, for files that keep it."""
    return path.with_suffix(f".previous{path.suffix}")
