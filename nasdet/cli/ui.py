"""`nasdet ui`: MLflow's user interface on a study's store. The server is a child process that ends with this
command."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nasdet.cli.options import complete_path

if TYPE_CHECKING:
    from nasdet.search import StudyStore

FIRST_PORT, PORTS = 5000, 50
START_SECONDS = 120.0


@click.command("ui")
@click.argument("study", required=False, metavar="[STUDY]", shell_complete=complete_path)
@click.option("--port", type=click.IntRange(1, 65535), help="Port; left out: the first free one from 5000.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--json", "as_json", is_flag=True, help="Print the address as one JSON object once it answers.")
def command(study: str | None, port: int | None, host: str, as_json: bool) -> None:
    """Open MLflow's UI on STUDY (a folder or a name; left out: the newest), until Ctrl-C.

    \b
    Example:
      nasdet ui
      nasdet ui digits-1 --port 5001
    """
    from nasdet.driver.observers.mlflow_mirror import store_uri
    from nasdet.search import open_study
    from nasdet.uris import public_uri

    store = open_study(study)
    uri = store_uri(store)
    _prepare(store, uri)
    if uri.startswith(("http://", "https://")):
        click.echo(json.dumps({"url": public_uri(uri)}) if as_json else f"the study is tracked at {public_uri(uri)}")
        return
    port = _port(host, port)
    url = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"
    log = store.dir / "logs" / "mlflow-ui.log"
    with contextlib.suppress(KeyboardInterrupt), _server(uri, host, port, log) as server:
        _wait(server, url, log)
        page = _page(url, store)
        answer = {"url": url, "page": page, "tracking_uri": public_uri(uri)}
        click.echo(json.dumps(answer) if as_json else f"MLflow: {page}")
        click.echo(f"experiment {store.space.name}, run {store.name}; Ctrl-C ends it", err=True)
        server.wait()
        raise _died(log)


def _prepare(store: StudyStore, uri: str) -> None:
    """Write what the store lacks, and repair the locations of one that has moved."""
    from nasdet.driver.observers.mlflow_mirror import write_missing
    from nasdet.tracking import relocate
    from nasdet.uris import sqlite_path

    write_missing(store)
    path = sqlite_path(uri)
    if path is not None:
        relocate(path)


@contextlib.contextmanager
def _server(uri: str, host: str, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server as a child in its own process group, which ends with the block."""
    from nasdet.tracking.mlflow_client import NO_TELEMETRY
    from nasdet.tracking.sqlite_store import artifact_root
    from nasdet.uris import sqlite_path

    path = sqlite_path(uri)
    root = [] if path is None else ["--default-artifact-root", str(artifact_root(path))]
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1", *root]
    # The URI goes by the environment: it may hold a password, and arguments are everyone's to read.
    env = {**os.environ, **NO_TELEMETRY, "MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        server = subprocess.Popen(
            command, env=env, cwd=log.parent, stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            yield server
        finally:
            _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    """Ask the group to end, then make sure: the server's workers must not outlive it."""
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _port(host: str, port: int | None) -> int:
    from nasdet.errors import InputError

    for candidate in [port] if port else range(FIRST_PORT, FIRST_PORT + PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError as error:
                reason = error.strerror
                continue
            return candidate
    what = f"port {port} of {host} cannot be used ({reason})" if port else f"{host} has no free port ({reason})"
    raise InputError(what, where="--port" if port else "--host", remedy="name another, or leave it out")


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Until the server answers."""
    end = time.monotonic() + START_SECONDS
    opener = _opener()
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError), opener.open(f"{url}/health", timeout=2) as reply:
            if reply.status == 200:
                return
        time.sleep(0.2)
    raise _died(log)


def _page(url: str, store: StudyStore) -> str:
    """The table of the study's runs. MLflow 3 opens an experiment on its page for language models unless the address
    says otherwise, whatever the experiment's own kind."""
    from nasdet.tracking import parent_run_id

    ask = f"{url}/api/2.0/mlflow/runs/get?run_id={parent_run_id(store.dir)}"
    with contextlib.suppress(OSError), _opener().open(ask, timeout=10) as reply:
        experiment = json.load(reply)["run"]["info"]["experiment_id"]
        return f"{url}/#/experiments/{experiment}/runs?workflowType=machine_learning"
    return url


def _opener() -> urllib.request.OpenerDirector:
    """The server is on this machine: no proxy."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _died(log: Path) -> Exception:
    from nasdet.errors import NasdetError

    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return NasdetError(f"MLflow's server ended: {lines[-1] if lines else 'without a word'}; its log is {log}")
