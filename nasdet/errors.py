"""The errors a person can meet. One decision: the class of an error alone decides the exit code of the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 1500
"""Characters of a part of a message."""


class NasdetError(Exception):
    """The run failed for a reason that is known and said in one line. Exit code 1."""

    exit_code = 1


class InputError(NasdetError):
    """What the user gave is wrong. Exit code 2.

    Args:
        what: what is wrong, with the offending value.
        where: file and line, option or key path; empty if `what` says it.
        remedy: what to do about it.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = (_shortened(text) for text in (what, where, remedy))
        line = f"{self.where}: {self.what}" if where else self.what
        super().__init__(f"{line}; {self.remedy}" if remedy else line)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.remedy)


class TrialFailure(NasdetError):
    """One trial cannot go on (divergence, out of memory, a fault in a worker); the study can."""


class StorageFault(TrialFailure):
    """One job cannot go on because files of the study or its data cannot be read or written; its trial can, later."""


def _shortened(text: str) -> str:
    """The text without its middle if it is very long: a value of somebody's file may be a whole page."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


def _rebuild(kind: type[InputError], what: str, where: str, remedy: str) -> InputError:
    return kind(what, where=where, remedy=remedy)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?" for the closest known name, else a list of the known ones."""
    names = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(sorted(names)) if names else ""
