"""`nasdet data` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nasdet.cli.data import data
from nasdet.data import Dataset, open_data
from nasdet.errors import InputError
from tests.data.conftest import CocoFolder


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    monkeypatch.setenv("NASDET_HOME", str(tmp_path_factory.getbasetemp() / "data-home"))
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(data, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_tables_and_contact_sheet(tmp_path: Path) -> None:
    text = run("digits")
    for part in ("1 channel of 8 bits", "600", "no defects found", "contact sheet: digits-contact-sheet.png"):
        assert part in text
    assert (tmp_path / "digits-contact-sheet.png").is_file()


def test_json_is_one_object(tmp_path: Path) -> None:
    facts = json.loads(run("digits", "--json", "--split", "val", "--out", "sheet.png"))
    assert facts["splits"] == {"train": 600, "val": 150, "test": 150}
    assert (tmp_path / facts["contact_sheet"]).is_file()


@pytest.mark.parametrize("layout", ["coco", "voc", "yolo"])
def test_convert(tmp_path: Path, layout: str) -> None:
    run("digits", "--convert", layout, "--out", "converted")
    converted: Dataset = open_data(tmp_path / "converted")
    assert converted.info.layout == layout
    assert converted.info.splits == {"train": 600, "val": 150, "test": 150}


def test_conversions_say_what_they_leave_out(tmp_path: Path) -> None:
    folder = CocoFolder(tmp_path / "set")
    folder.annotate(1, [20, 25, 10, 10], iscrowd=1)
    folder.write()
    facts = json.loads(run("set", "--json", "--convert", "yolo", "--out", "converted"))
    said = "1 regions to ignore (crowds, difficult objects) are not written: rows cannot say them"
    assert facts["notes"] == [said]
    assert f"- {said}" in " ".join(run("set", "--convert", "yolo", "--out", "again").split())
    assert not json.loads(run("set", "--json", "--convert", "voc", "--out", "voc"))["notes"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "no data set 'nowhere'"),
        (("digits", "--split", "dev"), "no split 'dev'; the splits are train, val, test"),
        (("digits", "--convert", "coco"), "--convert needs --out; name the folder to write"),
        (("digits", "--convert", "kitti", "--out", "x"), "unknown layout 'kitti'"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(*arguments)
