"""The fast way to a study's records gives what Optuna's own gives, and None where it cannot."""

from __future__ import annotations

from pathlib import Path

from nasdet.search.records.read_sqlite import read_records
from nasdet.search.records.study_folder import DATABASE, RECORD, StudyStore
from nasdet.space import parse_space
from nasdet.study_config import StudyConfig
from nasdet.trial import Rung, TrialRecord

SPACE = {"space": {"x": {"kind": "float", "low": 0, "high": 1}}, "objectives": [{"name": "y", "direction": "max"}]}


def test_the_same_as_optuna_reads(tmp_path: Path) -> None:
    space = parse_space({**SPACE, "budget": {"trials": 3, "epochs": 2}}, function=True)
    store = StudyStore.create(tmp_path / "toy", StudyConfig(study="toy", data=""), space)
    for number, state in enumerate(("complete", "infeasible", "running")):
        values = {"y": 0.25} if state == "complete" else {}
        record = TrialRecord(f"t{number}", number, state, {"x": 0.5}, values=values)  # type: ignore[arg-type]
        store.put(record.replace(rungs=(Rung(2, values),) if values else ()))
    known = read_records(store.dir / DATABASE, "toy", RECORD)
    assert known == store._read()
    assert known is not None and list(known[1].values()) == store.records()


def test_what_is_no_storage_is_left_to_optuna(tmp_path: Path) -> None:
    for name, content in (("empty.db", b""), ("text.db", b"no database"), ("missing.db", None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        assert read_records(tmp_path / name, "toy", RECORD) is None
    assert not (tmp_path / "missing.db").exists()
