from __future__ import annotations

from pathlib import Path

import pytest

from nasdet.driver.node_probe import FolderReport, NodeProbe, look_at_folder, versions


def test_a_marker_is_seen_and_a_missing_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "marker").write_text("x")
    assert look_at_folder(tmp_path, "marker") == FolderReport(exists=True, writable=True, content="x")
    assert look_at_folder(tmp_path, "other", patience=0.3) == FolderReport(exists=True, writable=True, content="")
    assert look_at_folder(tmp_path / "a" / "b", "marker") == FolderReport(exists=False, writable=True, content="")


def test_what_lies_in_a_folder_of_data(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "a.json").write_text("{}")
    assert look_at_folder(tmp_path, "").content == "a.json 2; images"
    assert look_at_folder(tmp_path / "a.json", "").content == "a.json 2"


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasdet.driver.node_probe._gpus", lambda: ((), ""))
    (tmp_path / "m").write_text("m")
    report = NodeProbe().look("127.0.0.1", {"studies": str(tmp_path), "data": str(tmp_path)}, "m")
    assert report.versions == versions() and report.interface == "lo"
    assert (report.folders["studies"].content, report.folders["data"].content) == ("m", "m 1")
