"""`nasdet ui`: the server answers on localhost, knows the study, and ends with the command."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from nasdet.cli import resume
from nasdet.cli.ui import _prepare, command
from nasdet.driver.observers.mlflow_mirror import store_uri
from nasdet.errors import InputError
from nasdet.search import StudyStore
from nasdet.tracking import mirror_state, note_mirror, run_ids
from nasdet.uris import default_uri


@pytest.mark.slow  # a minute: MLflow's server imports and migrates
@pytest.mark.timeout(400)
def test_the_ui_answers_and_ends(stored: StudyStore, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    stored.dir.parent.rename(folder)
    arguments = [
        sys.executable,
        "-c",
        "from nasdet.cli.main import main; main()",
        "ui",
        str(folder / "made-1"),
        "--json",
    ]
    with subprocess.Popen(
        arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        url = told["url"]
        assert told["page"] == f"{url}/#/experiments/1/runs?workflowType=machine_learning"
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url, timeout=20) as reply:
            assert reply.status == 200 and b"<html" in reply.read()
        body = json.dumps({"experiment_ids": ["1"], "max_results": 100}).encode()
        headers = {"Content-Type": "application/json"}
        search = urllib.request.Request(f"{url}/api/2.0/mlflow/runs/search", body, headers)
        with urllib.request.urlopen(search, timeout=20) as reply:
            runs = json.load(reply)["runs"]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert {r["info"]["run_name"] for r in runs} == {"made-1", "t0", "t1", "t2"}
    assert set(run_ids(folder / "made-1")) == {"t0", "t1", "t2"}
    parent = next(r for r in runs if r["info"]["run_name"] == "made-1")
    assert (Path(parent["info"]["artifact_uri"]) / "pareto.html").is_file()
    with pytest.raises(OSError):  # nobody listens any more
        urllib.request.urlopen(url, timeout=2)


def test_a_server_elsewhere_is_named(stored: StudyStore) -> None:
    stored.save_config(tracking_uri="http://me:secret@host:5000")
    result = CliRunner().invoke(command, [str(stored.dir)], catch_exceptions=False)
    assert result.stdout == "the study is tracked at http://me:***@host:5000\n"


def test_a_store_that_moved_with_the_study_is_found(stored: StudyStore, tmp_path: Path) -> None:
    assert store_uri(stored) == default_uri(stored.dir)
    stored.save_config(tracking_uri=f"sqlite:///{tmp_path}/gone/mlflow.db")
    assert store_uri(stored) == default_uri(stored.dir)
    (tmp_path / "mine.db").touch()
    stored.save_config(tracking_uri=f"sqlite:///{tmp_path}/mine.db")
    assert store_uri(stored) == f"sqlite:///{tmp_path}/mine.db"


def test_what_mlflow_lacks_is_written_by_the_next_resume_or_ui(
    stored: StudyStore, capfd: pytest.CaptureFixture[str]
) -> None:
    point = stored.config.reference_point
    stored.save_config(finished=True, tracking_uri="http://me:secret@127.0.0.1:9", reference_point=[])
    result = CliRunner().invoke(resume.command, [str(stored.dir), "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["trials"]["complete"] == 3  # an outage does not change what resume answers
    said = capfd.readouterr().err
    assert "lacks results of made-1, t0, t1 and 1 more runs" in said and "secret" not in said
    assert mirror_state(stored.dir) == "lacking"

    stored.save_config(tracking_uri=None, reference_point=point)
    _prepare(StudyStore.open(stored.dir), default_uri(stored.dir))
    assert "writing the study into MLflow" in capfd.readouterr().err
    assert mirror_state(stored.dir) == "whole" and set(run_ids(stored.dir)) == {"t0", "t1", "t2"}

    CliRunner().invoke(resume.command, [str(stored.dir), "--json"], catch_exceptions=False)
    assert capfd.readouterr().err == ""


def test_nothing_is_written_into_what_a_search_writes(stored: StudyStore, capfd: pytest.CaptureFixture[str]) -> None:
    note_mirror(stored.dir, "running")
    _prepare(stored, default_uri(stored.dir))
    assert capfd.readouterr().err == "" and not (stored.dir.parent / "mlflow.db").exists()


def test_a_port_in_use_is_one_line(stored: StudyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasdet.cli.ui._prepare", lambda store, uri: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(InputError, match=rf"--port: port {port} of 127\.0\.0\.1 cannot be used"):
            CliRunner().invoke(command, [str(stored.dir), "--port", port], catch_exceptions=False)
