"""A registered model and the code of a bundle's README give the boxes of `nasdet predict`, without PyTorch."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from nasdet.cli.export import command
from nasdet.cli.predict import command as predict_command
from nasdet.data import open_data
from nasdet.driver import model_registry
from nasdet.errors import InputError, NasdetError
from nasdet.export.model_registry import check_name
from nasdet.search import StudyStore, open_study

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

ALONE = "import sys; sys.modules['torch'] = sys.modules['nasdet'] = None\n"
LOADED = """
import json, sys
from pathlib import Path
import mlflow, numpy as np
from PIL import Image
models, names = json.loads(sys.argv[1]), sys.argv[2:]
kinds = [names, [Path(n).read_bytes() for n in names], [np.asarray(Image.open(n)) for n in names]]
for store, uri in models:
    mlflow.set_tracking_uri(store)
    model = mlflow.pyfunc.load_model(uri)
    print(json.dumps([model.predict(kind) for kind in kinds]))
"""


@pytest.fixture
def tables(tmp_path: Path, mlflow_tables: Path) -> Callable[[str], str]:
    """Puts MLflow's empty tables into a folder; gives the address of the store."""

    def put(folder: str) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        shutil.copy(mlflow_tables, tmp_path / folder / "mlflow.db")
        return f"sqlite:///{tmp_path}/{folder}/mlflow.db"

    return put


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """One image of the canvas' size, one that has to be shrunk and one to be enlarged."""
    names = []
    for record, size in zip(open_data("digits").images("val")[:3], (None, (150, 110), (60, 80)), strict=True):
        names.append(str(tmp_path / f"{len(names)}.png"))
        image = Image.open(record.path)
        (image.resize(size) if size else image).save(names[-1])
    return names


def export(store: StudyStore, out: str, *options: str) -> dict[str, Any]:
    arguments = [str(store.dir), "--pick", "best", "--out", out, *options, "--json"]
    printed = CliRunner().invoke(command, arguments, catch_exceptions=False).stdout
    # MLflow prints addresses of a server's runs, which in a real process go to the study's log.
    report: dict[str, Any] = json.loads(printed[printed.index("{\n") :])
    return report


def predicted(bundle: str, pictures: list[str]) -> list[list[dict[str, Any]]]:
    result = CliRunner().invoke(
        predict_command, [bundle, *pictures, "--out", "found", "--json"], catch_exceptions=False
    )
    return [entry["boxes"] for entry in json.loads(result.stdout)["predictions"]]


def alone(code: str, *arguments: str, **environment: str) -> str:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment
    env["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    done = subprocess.run([sys.executable, "-c", ALONE + code, *arguments], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_same(own: list[dict[str, Any]], given: dict[str, Any]) -> None:
    """The same objects; of nearly equal scores either may come first."""
    rows = list(zip(given["labels"], given["scores"], given["boxes"], strict=True))
    assert len(rows) == len(own) > 3
    for box in own:
        near = [row for row in rows if row[0] == box["class"] and np.abs(np.subtract(row[2], box["box"])).max() < 0.5]
        assert near and abs(near[0][1] - box["score"]) < 1e-2


def assert_loads(models: list[tuple[str, str]], own: list[list[dict[str, Any]]], pictures: list[str]) -> None:
    """Each model, by its store and address, finds the boxes of `nasdet predict`; one process imports MLflow for all."""
    lines = alone(LOADED, json.dumps(models), *pictures).splitlines()[-len(models) :]
    assert len(lines) == len(models)
    for line in lines:
        for kind in json.loads(line):
            for mine, given in zip(own, kind, strict=True):
                assert_same(mine, given)


def test_the_readme_without_pytorch(stored: StudyStore, pictures: list[str]) -> None:
    report = export(stored, "best", "--onnx")
    card = Path("best", "README.md").read_text()
    assert f"{report['onnx']['ms']:.3g} ms per image" in card
    assert json.loads(Path("best", "metrics.json").read_text())["onnx"] == report["onnx"]
    block = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert block
    lines = alone(block[1], "best", *pictures).splitlines()
    for name, own in zip(pictures, predicted("best", pictures), strict=True):
        rows = [line.removeprefix(f"{name} ").split() for line in lines if line.startswith(name)]
        columns = {"labels": [r[0] for r in rows], "scores": [float(r[1]) for r in rows]}
        assert_same(own, {**columns, "boxes": [[float(v) for v in r[2:]] for r in rows]})


def test_the_registry_in_a_file_and_after_a_move(
    stored: StudyStore,
    pictures: list[str],
    tmp_path: Path,
    tables: Callable[[str], str],
) -> None:
    tables("studies")
    report = export(stored, "best", "--register", "digits-detector")
    assert report["registered"]["uri"] == "models:/digits-detector@best" and report["registered"]["version"] == "1"

    shutil.move(tmp_path / "studies", tmp_path / "moved")
    study = open_study(str(tmp_path / "moved" / "made-1"))
    second = export(study, "again", "--register", "digits-detector")
    assert second["registered"]["version"] == "2"
    by_name = export(
        open_study(str(tmp_path / "moved" / "made-1")), "named", "--pick", "t0", "--register", "digits-detector"
    )
    assert by_name["registered"]["uri"] == "models:/digits-detector/3" and by_name["registered"]["alias"] == ""
    uri = f"sqlite:///{tmp_path}/moved/mlflow.db"
    models = [(uri, second["registered"]["uri"]), (uri, "models:/digits-detector/1")]
    assert_loads(models, predicted("best", pictures), pictures)
    assert_what_is_stored(uri)


def assert_what_is_stored(uri: str) -> None:
    import mlflow
    from mlflow.models import get_model_info
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri, uri)
    version = client.get_model_version_by_alias("digits-detector", "best")
    assert str(version.version) == "2" and version.tags["nasdet.trial"] == "t0" and version.tags["nasdet.ap"] == "0.5"
    run = client.get_run(version.run_id)
    assert run.data.tags["nasdet.trial"] == "t0" and run.outputs.model_outputs
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    info = get_model_info("models:/digits-detector@best")
    mlflow.set_tracking_uri(before)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow sets it as well
    assert info.signature.inputs and info.signature.outputs and info.signature.params
    assert not list(Path(uri.removeprefix("sqlite:///")).parent.glob("mlartifacts/**/*.pkl"))


def test_a_registration_that_failed_is_repeated(stored: StudyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"name": "digits-detector", "version": "1", "alias": "best", "uri": "models:/digits-detector@best"}

    def refuse(*_: Any) -> dict[str, str]:
        raise NasdetError("MLflow does not answer")

    monkeypatch.setattr(model_registry, "register_trial", refuse)
    with pytest.raises(NasdetError, match="does not answer"):
        export(stored, "best", "--register", "digits-detector")
    monkeypatch.setattr(model_registry, "register_trial", lambda *_: made)
    assert export(stored, "best", "--register", "digits-detector")["registered"] == made
    with pytest.raises(InputError, match="holds a bundle already"):
        export(stored, "best")


def test_a_bundle_trained_in_full(
    stored: StudyStore,
    pictures: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tables: Callable[[str], str],
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("NASDET_HOME", str(tmp_path))
    export(stored, "best")
    card = json.loads(Path("best", "metrics.json").read_text())
    for key in ("mlflow_run_id", "trial"):
        card.pop(key, None)
    shutil.move("best", "final")
    Path("final", "metrics.json").write_text(json.dumps({**card, "epochs": 72, "values": {"ap": 0.75}}))
    beside, elsewhere = tables("studies"), tables("elsewhere")
    models = []
    for arguments, uri in (([], beside), (["--tracking-uri", elsewhere], elsewhere)):
        asked = ["final", "--register", "digits-detector", *arguments, "--json"]
        printed = CliRunner().invoke(command, asked, catch_exceptions=False).stdout
        report = json.loads(printed[printed.index("{\n") :])
        assert (
            report["registered"]["uri"] == "models:/digits-detector/1" and report["registered"]["tracking_uri"] == uri
        )
        models.append((uri, report["registered"]["uri"]))
        run = MlflowClient(uri, uri).get_run(MlflowClient(uri, uri).get_model_version("digits-detector", "1").run_id)
        assert run.info.run_name == "final" and run.info.status == "FINISHED"
        assert run.data.metrics["ap"] == 0.75 and run.data.params["epochs"] == "72"
    assert_loads(models, predicted("final", pictures), pictures)


@pytest.mark.slow
def test_the_registry_of_a_server(stored: StudyStore, pictures: list[str], server: str) -> None:
    stored.save_config(tracking_uri=server, finished=True)
    report = export(stored, "best", "--register", "digits-detector")
    assert_loads([(server, report["registered"]["uri"])], predicted("best", pictures), pictures)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """MLflow's server on loopback, through which artifacts go too."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        str(tmp_path / "held"),
    ]
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    process = subprocess.Popen([sys.executable, "-m", "mlflow", "server", *store, *where], start_new_session=True)
    try:
        yield _answering(process, f"http://127.0.0.1:{port}")
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


def _answering(process: subprocess.Popen[bytes], url: str) -> str:
    for _ in range(600):
        assert process.poll() is None
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=1):
                return url
        except OSError:
            time.sleep(0.2)
    pytest.fail("the server does not answer")


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(InputError, match="cannot name a model"):
        check_name(name)
