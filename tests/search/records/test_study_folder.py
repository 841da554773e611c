from __future__ import annotations

import errno
import itertools
import json
import shutil
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import optuna
import pytest

from benchmarks import study_writes
from nasdet.errors import InputError, NasdetError
from nasdet.search import StudyStore, find_study
from nasdet.space import SearchSpace
from nasdet.study_config import StudyConfig
from nasdet.trial import TrialRecord
from tests.search.conftest import observed, toy


def test_round_trip(store: StudyStore) -> None:
    record = TrialRecord("t0000", 0, "running", {"x": 0.5, "size": 3, "kind": [1, 2]})
    store.put(record)
    done = record.replace(state="complete", values={"ap": 0.4, "params_m": 3.0}, epochs=9)
    store.put(done)
    assert StudyStore.open(store.dir).records() == [done]


def test_finished_records_cannot_change(store: StudyStore) -> None:
    record = TrialRecord("t0000", 0, "failed", {"x": 0.5, "size": 3, "kind": "a"}, reason="NaN")
    store.put(record)
    with pytest.raises(ValueError, match="t0000 is failed"):
        store.put(record.replace(state="running"))


@pytest.mark.parametrize("fails", [2, 1000])
def test_a_disk_that_is_full_is_waited_for_but_not_for_ever(
    fails: int, store: StudyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nasdet.search.records import study_folder as module

    errors = iter([OSError(errno.ENOSPC, "No space left on device")] * fails)
    real, clock = module.atomic_write, itertools.count()

    def full(path: Path, content: str) -> None:
        if error := next(errors, None):
            raise error
        real(path, content)

    monkeypatch.setattr(module, "atomic_write", full)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_WRITES", 0.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: 10.0 * next(clock))
    if fails > 2:
        with pytest.raises(NasdetError, match=r"the study cannot be written: .*No space left.*nasdet resume"):
            store.save_config(skipped=3)
        assert store.config.skipped == 0
    else:
        store.save_config(skipped=3)
        assert StudyStore.open(store.dir).config.skipped == 3


def test_a_full_database_is_waited_for(store: StudyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """By SQLite's own limit of pages: it fails as on a full disk, and nothing is half written."""
    from sqlalchemy import event

    from nasdet.search.records import study_folder as module

    engine, waits = store._storage._storage.engine, list[float]()
    limit = ["PRAGMA max_page_count = 1"]  # SQLite takes the present size for it
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(limit[0]))

    def wait(seconds: float) -> None:
        waits.append(seconds)
        limit[0] = "PRAGMA max_page_count = 100000"

    monkeypatch.setattr(module.time, "sleep", wait)
    record = TrialRecord("t0000", 0, "running", {"x": 0.5, "size": 3, "kind": "a"}, reason="long " * 100_000)
    store.put(record)
    assert waits and StudyStore.open(store.dir).records() == [record]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> StudyStore:
    """A study with two trials in each state; only read by the tests."""
    folder = tmp_path_factory.mktemp("studies") / "toy-1"
    store = StudyStore.create(folder, StudyConfig(study="toy-1", data="none"), toy())
    states = ("complete", "stopped", "failed", "infeasible", "duplicate", "running") * 2
    for number, (record, state) in enumerate(zip(observed(store.space, 12), states, strict=True)):
        started = TrialRecord(f"t{number}", number, "running", record.params)
        if state not in ("infeasible", "duplicate"):
            store.put(started)
        store.put(started.replace(state=state, values=record.values, epochs=9))
    return store


def test_opens_in_optuna(ended: StudyStore) -> None:
    study = optuna.load_study(study_name="toy-1", storage=f"sqlite:///{ended.dir}/optuna.db")
    complete = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    assert {len(t.values) for t in complete} == {2}
    assert len(complete) == sum(r.state == "complete" for r in ended.records()) == 2
    assert study.best_trials and study.metric_names == [o.name for o in ended.objectives]


def test_opens_in_optuna_dashboard(ended: StudyStore) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    app = dashboard.wsgi(optuna.storages.RDBStorage(f"sqlite:///{ended.dir}/optuna.db"))

    def ask(path: str) -> dict:
        environ = {"PATH_INFO": path}
        setup_testing_defaults(environ)
        told: list[str] = []
        body = b"".join(app(environ, lambda status, headers, *rest: told.append(status)))
        assert told == ["200 OK"], body
        return json.loads(body)

    (study,) = ask("/api/studies")["study_summaries"]
    assert study["study_name"] == "toy-1"
    detail = ask(f"/api/studies/{study['study_id']}")
    assert len(detail["trials"]) == len(ended.records())
    assert detail["objective_names"] == [o.name for o in ended.objectives]


def test_a_moved_study_opens(ended: StudyStore, tmp_path: Path) -> None:
    shutil.copytree(ended.dir, tmp_path / "copied")
    moved = shutil.move(tmp_path / "copied", tmp_path / "elsewhere")
    assert StudyStore.open(Path(moved)).records() == ended.records()


def test_refuses_a_folder_in_use(store: StudyStore, space: SearchSpace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="already holds a study; nasdet resume"):
        StudyStore.create(store.dir, StudyConfig(study="toy-1", data=""), space)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(InputError, match="not an empty folder"):
        StudyStore.create(tmp_path / "full", StudyConfig(study="x", data=""), space)


def test_concurrent_writers_of_the_configuration_do_not_disturb_each_other(tmp_path: Path) -> None:
    found = study_writes.measure(tmp_path / "s", writes=300, processes=2, threads=3)
    assert (found["writes"], found["errors"], found["half_files"], found["left_files"]) == (300, 0, 0, 0)
    assert found["reads"] > 10


def test_unknown_keys_of_the_configuration_stay(store: StudyStore) -> None:
    known = json.loads((store.dir / "study.json").read_text())
    (store.dir / "study.json").write_text(json.dumps({**known, "settled": [{"x": 1}]}))
    StudyStore.open(store.dir).save_config(finished=True)
    assert json.loads((store.dir / "study.json").read_text()) == {**known, "settled": [{"x": 1}], "finished": True}


def test_a_value_of_the_wrong_type_is_named(store: StudyStore) -> None:
    (store.dir / "study.json").write_text('{"study": "s", "data": "", "reference_point": [0, "far"]}')
    with pytest.raises(InputError, match=r"damaged study\.json: reference_point\.1: .*valid number"):
        StudyStore.open(store.dir)


def test_damaged_config_is_a_plain_error(store: StudyStore) -> None:
    (store.dir / "study.json").write_text("{")
    with pytest.raises(InputError, match=r"damaged study\.json"):
        StudyStore.open(store.dir)


@pytest.mark.parametrize("text", ["{}", "[]", '{"study": 1, "data": "digits"}'])
def test_config_without_a_name_is_a_plain_error(store: StudyStore, text: str) -> None:
    (store.dir / "study.json").write_text(text)
    with pytest.raises(InputError, match=r"damaged study\.json: it does not say 'study'"):
        StudyStore.open(store.dir)


def test_a_storage_that_fails_leaves_nothing_and_shows_no_password(space: SearchSpace, tmp_path: Path) -> None:
    config = StudyConfig(study="s", data="", storage="nonsense://me:secret@x")
    with pytest.raises(InputError, match="cannot open the Optuna storage") as error:
        StudyStore.create(tmp_path / "s", config, space)
    assert "me:***@x" in str(error.value) and "secret" not in str(error.value)
    assert not (tmp_path / "s").exists()


def test_a_missing_storage_is_not_made_anew(store: StudyStore) -> None:
    (store.dir / "optuna.db").unlink()
    with pytest.raises(InputError, match=r"optuna\.db: the study's storage is missing; put it back"):
        StudyStore.open(store.dir)
    assert not (store.dir / "optuna.db").exists()


def test_a_storage_without_the_study_is_a_plain_error(store: StudyStore) -> None:
    store.save_config(study="another")
    with pytest.raises(InputError, match="the storage holds no study 'another'"):
        StudyStore.open(store.dir)


def test_a_shared_storage_never_gives_a_new_study_old_trials(space: SearchSpace, tmp_path: Path) -> None:
    config = StudyConfig(study="s", data="", storage=f"sqlite:///{tmp_path}/new/shared.db")
    first = StudyStore.create(tmp_path / "a" / "s", config, space)
    first.put(TrialRecord("t0000", 0, "running", {"x": 0.5, "size": 3, "kind": "a"}))
    with pytest.raises(InputError, match="the storage already holds a study 's'; name another folder"):
        StudyStore.create(tmp_path / "b" / "s", config, space)
    assert not (tmp_path / "b" / "s").exists()
    first.remove()
    assert not first.dir.exists()
    assert StudyStore.create(tmp_path / "b" / "s", config, space).records() == []


def test_finding_studies(store: StudyStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NASDET_HOME", str(tmp_path / "home"))
    with pytest.raises(InputError, match="no study here yet"):
        find_study()
    target = tmp_path / "home" / "studies" / "toy-9"
    target.mkdir(parents=True)
    (target / "study.json").write_text(json.dumps({"study": "toy-9"}))
    assert find_study() == target
    assert find_study("toy-9") == target
    assert find_study(store.dir) == store.dir
    with pytest.raises(InputError, match="did you mean 'toy-9'"):
        find_study("toy-2")
