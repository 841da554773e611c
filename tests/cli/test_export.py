"""`nasdet export` on a stored study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nasdet.cli.export import command
from nasdet.errors import InputError
from nasdet.export import read_bundle
from nasdet.search import StudyStore


def test_the_bundle_holds_the_trial(stored: StudyStore, tmp_path: Path) -> None:
    arguments = [str(stored.dir), "--pick", "best", "--out", str(tmp_path / "best"), "--onnx", "--json"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    report = json.loads(result.stdout)
    assert report["trial"] == "t0" and report["values"]["ap"] == 0.5
    assert report["onnx"]["images"] > 1 and report["onnx"]["box_pixels"] < 0.5 and report["onnx"]["score"] < 1e-3
    bundle = read_bundle(tmp_path / "best")
    assert bundle.spec.to_json() == stored.get("t0").spec and len(bundle.classes) == 10
    assert bundle.metrics["study"] == "made-1" and bundle.metrics["values"]["latency_ms"] == 9.0
    assert (bundle.path / "model.onnx").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pick", "fastest"], "the weights of t1 were not kept"),
        (["--pick", "latency_ms<1"], "no complete trial has latency_ms<1"),
        (["--pick", "t9"], "no rule and no trial is called 't9'"),
        (["--out", "/proc/no/where"], "cannot be written"),
        (["--out", "."], "is not empty and not a bundle"),
    ],
)
def test_wrong_input(stored: StudyStore, tmp_path: Path, arguments: list[str], message: str) -> None:
    whole = [str(stored.dir), "--pick", "best", "--out", str(tmp_path / "x"), *arguments]
    with pytest.raises(InputError) as error:
        CliRunner().invoke(command, whole, catch_exceptions=False)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "x").exists()


def test_corrupt_weights(stored: StudyStore, tmp_path: Path) -> None:
    stored.checkpoint("t0").write_bytes(b"cut off")
    with pytest.raises(InputError, match="the weights of t0 cannot be read"):
        CliRunner().invoke(
            command, [str(stored.dir), "--pick", "best", "--out", str(tmp_path / "x")], catch_exceptions=False
        )
