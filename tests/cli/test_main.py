"""How a command that fails ends."""

from __future__ import annotations

import errno

import click
import pytest

from nasdet.cli import systems
from nasdet.cli.main import _run


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out/x.json"), "out/x.json: cannot be written (No space", 2),
        (OSError(errno.EROFS, "Read-only file system"), "cannot be written (Read-only file system); what was", 2),
        (
            OSError(errno.ENAMETOOLONG, "File name too long", "y" * 300),
            f"{'y' * 60}...: no file can have a name that",
            2,
        ),
        (OSError(errno.ENOENT, "No such file", "y"), "FileNotFoundError: [Errno 2] No such file: 'y' (a fault of", 1),
        (BrokenPipeError(), "", 0),
    ],
)
def test_faults_of_the_system(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError, line: str, code: int
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(systems, "command", click.command("systems")(fail))
    assert _run(["systems"], debug=False) == code
    said = capsys.readouterr().err
    assert said.startswith(f"nasdet: {line}") if line else said == ""
    assert said.count("\n") == bool(line)
