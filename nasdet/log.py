"""The `nasdet` logger, and the two ways in which an exception is reported: its whole traceback in a log file, and one
line for a person."""

from __future__ import annotations

import contextlib
import logging
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

LOG = "log.txt"
"""Name of the log file in a study's folder."""
logger = logging.getLogger("nasdet")
logger.addHandler(logging.NullHandler())
_NASDET = str(Path(__file__).parent)
_STANDARD_LIBRARY = sysconfig.get_paths()["stdlib"]


@contextlib.contextmanager
def log_to(file: Path) -> Iterator[None]:
    """Append what nasdet logs, from INFO on, to `file` while the block runs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def traceback_of(error: BaseException) -> str:
    """The whole traceback, with causes and notes."""
    return "".join(traceback.format_exception(error)).rstrip()


def in_short(error: BaseException) -> str:
    """Type, message and origin of an exception: `KeyError: 'width' (objective.py:12 in size)`."""
    text = " ".join(str(error).split())[:300]
    line, origin = f"{type(error).__name__}: {text}" if text else type(error).__name__, _origin(error)
    return f"{line} ({origin})" if origin else line


def _origin(error: BaseException) -> str:
    """The innermost line of the user's own code, else of nasdet's, that the exception passed through."""
    stack = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
    own = [frame for frame in stack if not _is_library(frame.filename)]
    users = [frame for frame in own if not frame.filename.startswith(_NASDET)]
    for frame in reversed(users or own):
        return f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
    return ""


def _is_library(file: str) -> bool:
    installed = {"site-packages", "dist-packages"} & set(Path(file).parts)
    return bool(installed) or file.startswith((_STANDARD_LIBRARY, "<frozen"))
