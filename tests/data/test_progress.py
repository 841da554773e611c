"""The counting line: on a terminal only, and only when it takes long."""

from __future__ import annotations

import io

import pytest

from nasdet.data import progress
from nasdet.data.progress import ReadingProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, silent: float) -> str:
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(progress, "_SILENT", silent)
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    with ReadingProgress("images checked", 2000) as reading:
        for _ in range(1500):
            reading.advance()
    return stream.getvalue()


def test_a_terminal_sees_a_line_that_goes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, Terminal(), 0.0)
    assert "1,500 of 2,000 images checked" in text and "\n" not in text
    last = text.rpartition("checked")[2]
    assert last.strip() == "" and last.endswith("\r")


def test_what_is_quick_or_no_terminal_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Terminal(), 60.0) == ""
    assert shown(monkeypatch, io.StringIO(), 0.0) == ""
