"""Tracking URIs that cannot work, by message."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nasdet.errors import InputError
from nasdet.uris import (
    absolute_uri,
    check_storage,
    check_tracking_uri,
    default_uri,
    public_uri,
    sqlite_path,
    tracking_uri,
)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://host/x", "unknown kind of tracking URI 'ftp://host/x'; give sqlite:///"),
        ("mlruns", "'mlruns' is a folder, and MLflow 3 no longer tracks in folders"),
        ("file:///data/mlruns", "give a database file: sqlite:////data/mlruns/mlflow.db"),
        ("", "is a folder"),
        ("sqlite://", "names no database file"),
        ("sqlite:///", "names no database file"),
        ("http://", "names no host"),
        ("http://127.0.0.1:9", "no answer from http://127.0.0.1:9"),
        ("postgresql+nodriver://u:secret@h/db", "postgresql+nodriver://u:***@h/db"),
    ],
)
def test_a_uri_that_cannot_work_gives_one_line(uri: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        check_tracking_uri(uri, timeout=1)
    assert message in str(error.value) and "\n" not in str(error.value) and "secret" not in str(error.value)
    assert str(error.value).startswith("--tracking-uri: ")


def test_sqlite_files(tmp_path: Path) -> None:
    check_tracking_uri(None)
    check_tracking_uri(f"sqlite:///{tmp_path}/new/mlflow.db")
    (tmp_path / "text.db").write_text("no database at all")
    for name, message in (
        ("text.db", "is not an SQLite database"),
        ("text.db/x.db", "is not a folder"),
        ("", "is a folder"),
    ):
        with pytest.raises(InputError, match=message):
            check_tracking_uri(f"sqlite:///{tmp_path}/{name}")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("redis://me:secret@host", "unknown kind of storage 'redis://me:***@host'; give sqlite:///"),
        ("x.db", "unknown kind of storage 'x.db'"),
        ("sqlite://", "names no database file; write sqlite:///PATH/optuna.db"),
        ("sqlite:///:memory:", "names no database file"),
        ("sqlite:///text.db", "is not an SQLite database"),
        ("postgresql+nodriver://u:secret@h/db", "postgresql+nodriver://u:***@h/db"),
    ],
)
def test_a_storage_that_cannot_work_gives_one_line(uri: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database at all")
    with pytest.raises(InputError) as error:
        check_storage(uri, timeout=1)
    assert message in str(error.value) and "\n" not in str(error.value) and "secret" not in str(error.value)
    assert str(error.value).startswith("--storage: ")


def test_checking_a_storage_does_not_make_it(tmp_path: Path) -> None:
    check_storage(None)
    check_storage("sqlite:///new/x.db")
    assert not (tmp_path / "new").exists()


def test_relative_files_count_from_the_working_directory(tmp_path: Path) -> None:
    assert absolute_uri("sqlite:///x.db") == f"sqlite:///{tmp_path.resolve()}/x.db"
    assert absolute_uri("sqlite:///x.db?timeout=9") == f"sqlite:///{tmp_path.resolve()}/x.db?timeout=9"
    for uri in ("sqlite:////data/x.db", "http://host:5000", "postgresql://me:pa55@host/db"):
        assert absolute_uri(uri) == uri


def test_a_server_that_is_not_mlflow(status_server: str) -> None:
    with pytest.raises(InputError, match="answers, but is not an MLflow server"):
        check_tracking_uri(f"{status_server}/404")
    with pytest.raises(InputError, match=r"refuses access \(HTTP 401\); set MLFLOW_TRACKING_USERNAME"):
        check_tracking_uri(f"{status_server}/401")
    check_tracking_uri(f"{status_server}/200")


def test_passwords_and_tokens_are_masked() -> None:
    assert public_uri("postgresql://me:pa55@host:5432/db") == "postgresql://me:***@host:5432/db"
    assert public_uri("postgresql://me:p/a@ss@host/db") == "postgresql://me:***@host/db"
    assert public_uri("mysql://host/db?user=me&password=pa55&x=1") == "mysql://host/db?user=me&password=***&x=1"
    assert public_uri("call to http://me:pa55@host/api failed") == "call to http://me:***@host/api failed"
    assert public_uri("no route to https://dapi123@host/api, twice") == "no route to https://***@host/api, twice"
    assert (
        public_uri("GET http://h/x?access_token=abc&step=1 failed") == "GET http://h/x?access_token=***&step=1 failed"
    )
    assert public_uri("postgresql://me@host/db") == "postgresql://me@host/db"
    for uri in ("http://host:5000", "sqlite:////data/a:b@c/x.db"):
        assert public_uri(uri) == uri


def test_the_default_is_beside_the_study(tmp_path: Path) -> None:
    assert sqlite_path(default_uri(tmp_path / "studies" / "one")) == (tmp_path / "studies" / "mlflow.db").resolve()
    assert sqlite_path("http://host") is None


class _Status(http.server.BaseHTTPRequestHandler):
    """Answers /CODE/... with that code."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.split("/")[1]))
        self.end_headers()
        self.wfile.write(b"OK")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def status_server() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Status)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_mlflows_own_variable_is_honoured_where_no_option_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_uri(None) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db")
    check_tracking_uri(None)
    assert tracking_uri(None) == f"sqlite:///{tmp_path.resolve()}/own.db"
    assert tracking_uri("sqlite:////data/x.db") == "sqlite:////data/x.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(InputError, match=r"MLFLOW_TRACKING_URI: './mlruns' is a folder.*; or unset the variable$"):
        check_tracking_uri(None)
    check_tracking_uri("sqlite:///x.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    check_tracking_uri(None)
    assert tracking_uri(None) is None
