"""Environment variables for the length of a block: a library leaves the process as it found it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def environment(
    values: Mapping[str, str] | None = None, *, defaults: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Set environment variables; after the block each is as it was, whatever the block has made of it.

    Args:
        values: set in any case.
        defaults: set only where the user has not set the variable.
    """
    unset = {name: value for name, value in (defaults or {}).items() if name not in os.environ}
    chosen = {**unset, **(values or {})}
    before = {name: os.environ.get(name) for name in chosen}
    os.environ.update(chosen)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
