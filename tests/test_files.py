from __future__ import annotations

import threading
from pathlib import Path

import pytest

from nasdet.files import atomic_path, atomic_write


def test_the_old_content_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "made" / "a.json"
    atomic_write(path, "ä")
    assert path.read_bytes() == "ä".encode()
    with pytest.raises(RuntimeError), atomic_path(path) as part:
        part.write_text("half")
        assert path.read_bytes() == "ä".encode() and part.parent == path.parent
        raise RuntimeError
    assert path.read_bytes() == "ä".encode()
    atomic_write(path, b"\x00")
    assert path.read_bytes() == b"\x00" and list(path.parent.iterdir()) == [path]


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    replace = Path.replace

    def noted(self: Path, target: Path) -> Path:
        steps.append("replace")
        return replace(self, target)

    monkeypatch.setattr("os.fsync", lambda handle: steps.append("fsync"))
    monkeypatch.setattr(Path, "replace", noted)
    atomic_write(tmp_path / "a", "text")
    assert steps == ["fsync", "replace", "fsync"]  # the file, its new name, the folder that holds the name


def test_threads_that_write_the_same_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path, faults = tmp_path / "a", []

    def write(letter: str) -> None:
        try:
            for _ in range(20):
                atomic_write(path, letter * 1000)
        except OSError as error:
            faults.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (
        not faults and path.read_text() in {letter * 1000 for letter in "abcd"} and list(tmp_path.iterdir()) == [path]
    )
