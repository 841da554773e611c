"""URIs of MLflow stores and Optuna storages: defaults, files, masked passwords, and checks before a search starts."""

from __future__ import annotations

import base64
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from nasdet.errors import InputError

DATABASES = ("postgresql", "mysql", "mssql")
WHERE, STORAGE = "--tracking-uri", "--storage"
VARIABLE = "MLFLOW_TRACKING_URI"
"""MLflow's own environment variable."""
KNOWN = "give sqlite:///PATH/mlflow.db, http(s)://HOST:PORT of an MLflow server, or a postgresql, mysql or mssql URI"


def default_uri(study_dir: Path) -> str:
    """The SQLite store in the study's parent folder."""
    return sqlite_uri(study_dir.resolve().parent / "mlflow.db")


def sqlite_uri(path: Path) -> str:
    """`sqlite:///` URI of a database file."""
    return f"sqlite:///{path.resolve()}"


def sqlite_path(uri: str) -> Path | None:
    """The database file of an SQLite URI (relative ones count from the working directory); None for any other URI."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]).expanduser().resolve()


def tracking_uri(option: str | None) -> str | None:
    """The MLflow store that a new study is to be tracked in: what the user gave, else what MLflow's own environment
    variable names, as an absolute URI; None: the default store. What is kept of a study goes before both."""
    uri = _chosen(option)
    return uri and absolute_uri(uri)


def absolute_uri(uri: str) -> str:
    """The URI, an SQLite file in it given absolutely, so that it names the same file from every working directory."""
    path = sqlite_path(uri)
    return uri if path is None else f"sqlite:///{path}{''.join(uri.partition('?')[1:])}"


def public_uri(text: str) -> str:
    """A URI, or a text that contains URIs such as an exception's, with every password and token replaced by ***."""
    # SQLAlchemy's own masking is not enough: it needs a whole URL, and hides neither what follows an unquoted @ in a
    # password nor the parameters of a query. A password may hold / and @ unquoted, so it ends at the last @.
    text = re.sub(r"(://[^\s/@:]*):\S*@", r"\1:***@", text)
    # A server's address with a user name alone holds a token.
    text = re.sub(r"(https?://)[^\s/@:]+@", r"\1***@", text)
    secret = r"[\w-]*(?:password|passwd|pwd|token|secret|api_key)|odbc_connect"
    return re.sub(rf"([?&](?:{secret})=)[^\s&]*", r"\1***", text, flags=re.IGNORECASE)


def _chosen(option: str | None) -> str | None:
    return (os.environ.get(VARIABLE) or None) if option is None else option


def check_tracking_uri(option: str | None, *, timeout: float = 5.0) -> None:
    """Raise `InputError` if nothing can be tracked at the store that `tracking_uri` chooses.

    Args:
        option: what the user gave.
        timeout: seconds to wait for a server.
    """
    uri = _chosen(option)
    if uri is None:
        return
    try:
        _check_store(uri, timeout)
    except InputError as error:
        if option is not None:
            raise
        remedy = f"{error.remedy}; or unset the variable" if error.remedy else "unset the variable, or correct it"
        raise InputError(error.what, where=VARIABLE, remedy=remedy) from None


def _check_store(uri: str, timeout: float) -> None:
    scheme = _scheme(uri)
    if scheme == "sqlite":
        _check_sqlite(uri, WHERE)
    elif scheme in ("http", "https"):
        _check_server(uri, timeout)
    elif scheme.partition("+")[0] in DATABASES:
        _check_database(uri, timeout, WHERE)
    elif scheme in ("", "file"):
        remedy = "give a database file: " + sqlite_uri(
            Path(uri.removeprefix("file://").rstrip("/") or ".") / "mlflow.db"
        )
        raise InputError(f"{uri!r} is a folder, and MLflow 3 no longer tracks in folders", where=WHERE, remedy=remedy)
    else:
        raise InputError(f"unknown kind of tracking URI {public_uri(uri)!r}", where=WHERE, remedy=KNOWN)


def check_storage(uri: str | None, *, timeout: float = 5.0) -> None:
    """Raise `InputError` if no Optuna storage can be at `uri`; None stands for the one in the study folder."""
    if uri is None:
        return
    if _scheme(uri) == "sqlite":
        _check_sqlite(uri, STORAGE)
    elif _scheme(uri).partition("+")[0] in DATABASES:
        _check_database(uri, timeout, STORAGE)
    else:
        remedy = "give sqlite:///PATH/optuna.db, or a postgresql, mysql or mssql URI"
        raise InputError(f"unknown kind of storage {public_uri(uri)!r}", where=STORAGE, remedy=remedy)


def _scheme(uri: str) -> str:
    return uri.partition(":")[0].lower() if ":" in uri else ""


def _check_sqlite(uri: str, where: str) -> None:
    path, name = sqlite_path(uri), "mlflow.db" if where == WHERE else "optuna.db"
    if path is None or path.name == ":memory:" or not uri.removeprefix("sqlite:///").strip():
        raise InputError(f"{uri!r} names no database file", where=where, remedy=f"write sqlite:///PATH/{name}")
    if path.is_dir():
        raise InputError(f"{path} is a folder", where=where, remedy=f"name a file: {sqlite_uri(path / name)}")
    if path.exists():
        with path.open("rb") as file:
            head = file.read(16)
        if head and head != b"SQLite format 3\x00":
            raise InputError(f"{path} is not an SQLite database", where=where, remedy="name another file")
        if not os.access(path, os.W_OK):
            raise InputError(f"{path} cannot be written", where=where, remedy="name another file")
        return
    folder = next(p for p in path.parents if p.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{path} cannot be made: {folder} is not a folder one can write to", where=where)


def _check_server(uri: str, timeout: float) -> None:
    # By urllib, because importing MLflow for its own request takes seconds.
    shown = public_uri(uri)
    if not urlsplit(uri).hostname:
        raise InputError(f"{shown!r} names no host", where=WHERE, remedy=KNOWN)
    address = re.sub(r"://[^/@]*@", "://", uri).rstrip("/") + "/health"
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=_login(uri)), timeout=timeout) as reply:
            alive = reply.read(64).strip() == b"OK"
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            raise InputError(f"{shown} refuses access (HTTP {error.code})", where=WHERE, remedy=remedy) from None
        alive = False
    except (OSError, ValueError) as error:
        reason = public_uri(str(getattr(error, "reason", error)))
        remedy = "start the server, correct the address, or leave the option out for a local store"
        raise InputError(f"no answer from {shown} ({reason})", where=WHERE, remedy=remedy) from None
    if not alive:
        raise InputError(f"{shown} answers, but is not an MLflow server", where=WHERE, remedy="correct the address")


def _login(uri: str) -> dict[str, str]:
    """The header by which MLflow's own client would log in."""
    parts, environment = urlsplit(uri), os.environ
    if token := environment.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    user = parts.username or environment.get("MLFLOW_TRACKING_USERNAME")
    password = parts.password or environment.get("MLFLOW_TRACKING_PASSWORD")
    if not user or password is None:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _check_database(uri: str, timeout: float, where: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    argument = "timeout" if uri.startswith("mssql") else "connect_timeout"
    try:
        create_engine(uri, connect_args={argument: max(1, round(timeout))}).connect().close()
    except ImportError as error:
        remedy = f"install the database's Python driver ({error.name})"
        raise InputError(f"{public_uri(uri)} needs a driver that is missing", where=where, remedy=remedy) from None
    except (SQLAlchemyError, ValueError, OSError) as error:
        reason = public_uri(str(getattr(error, "orig", None) or error).strip().splitlines()[0])
        raise InputError(
            f"no connection to {public_uri(uri)} ({reason})", where=where, remedy="correct the URI"
        ) from None
