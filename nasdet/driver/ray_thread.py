"""Threads that call Ray. One decision: they are ended before Ray is shut down, since a call into Ray afterwards ends
the whole process at once, with exit code 1 and without a word."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
import time
import weakref

from nasdet.log import logger

SECONDS_TO_END = 10.0
"""How long the end of such threads is waited for; a call into Ray cannot be cut short."""
SECONDS_TO_CLEAN_UP = 2.0
"""How long a thread may take over its own `finally` blocks before it is told to end again."""

_threads: weakref.WeakSet[RayThread] = weakref.WeakSet()


class RayThread(threading.Thread):
    """A daemon thread that calls Ray, which `ray_cluster` ends by a SystemExit where it still runs at the end."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **{**kwargs, "daemon": True})  # type: ignore[arg-type]
        _threads.add(self)

    def run(self) -> None:
        """The thread's work, until it is done or ended."""
        with contextlib.suppress(SystemExit):
            super().run()


def end_ray_threads() -> None:
    """End every `RayThread` and wait for it. A further Ctrl-C meanwhile is passed over: the end is under way."""
    deadline = time.monotonic() + SECONDS_TO_END
    for thread in [one for one in _threads if one is not threading.current_thread()]:
        told = float("-inf")
        while (runs := _runs(thread)) and time.monotonic() < deadline:
            with contextlib.suppress(KeyboardInterrupt):
                if time.monotonic() - told > SECONDS_TO_CLEAN_UP:
                    told = time.monotonic()
                    # Python raises it in the thread as soon as that is out of the C code it may be in.
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit)
                    )
                time.sleep(0.02)
        if runs:
            logger.warning("the thread %s still calls Ray, which is shut down", thread.name)


def _runs(thread: threading.Thread) -> bool:
    """Whether a thread runs; `is_alive` of Python 3.11 says no where a Ctrl-C has interrupted its `join`."""
    return thread.ident in sys._current_frames()
