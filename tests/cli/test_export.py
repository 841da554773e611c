"""`nasdet export` on a stored study."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from nasdet.cli.eval import KEYS
from nasdet.cli.eval import command as eval_command
from nasdet.cli.export import command
from nasdet.data import Dataset, open_data
from nasdet.driver.inference import evaluate as inference
from nasdet.errors import InputError
from nasdet.evaluation import write_resamples
from nasdet.export import Bundle, read_bundle
from nasdet.search import StudyStore
from nasdet.space import load_space
from nasdet.trainers.test_time_augmentation import Transforms


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


def test_a_bundle_gets_its_onnx_files(stored: StudyStore, tmp_path: Path) -> None:
    made = str(tmp_path / "best")
    CliRunner().invoke(command, [str(stored.dir), "--pick", "best", "--out", made], catch_exceptions=False)
    assert not (tmp_path / "best" / "model.onnx").exists()
    result = CliRunner().invoke(command, [made, "--onnx", "--json"], catch_exceptions=False)
    report = json.loads(result.stdout)
    assert report["bundle"] == made and report["onnx"]["images"] == 8
    assert report["onnx"]["box_pixels"] < 0.5 and report["onnx"]["score"] < 1e-3
    assert (tmp_path / "best" / "model_nms.onnx").is_file()
    assert "onnxruntime" in (tmp_path / "best" / "README.md").read_text()
    read_bundle(made)
    for wrong in ([made], [made, "--onnx", "--out", "x"]):
        with pytest.raises(InputError, match="is a bundle already"):
            CliRunner().invoke(command, wrong, catch_exceptions=False)
    for option, reason in (("--data", "is for --onnx and --register"), ("--tracking-uri", "is for a BUNDLE")):
        with pytest.raises(InputError, match=f"{option}: {reason}"):
            CliRunner().invoke(command, [str(stored.dir), "--out", "x", option, "digits"], catch_exceptions=False)


def test_a_study_is_exported_on_data_that_moved(stored: StudyStore, tmp_path: Path) -> None:
    stored.save_config(data=str(tmp_path / "gone"))
    asked = [str(stored.dir), "--pick", "best", "--out", "made", "--onnx"]
    with pytest.raises(InputError, match=r"no data set .*gone'; if the data moved, say where: --data SRC"):
        CliRunner().invoke(command, asked, catch_exceptions=False)
    assert not Path("made").exists()
    CliRunner().invoke(command, [*asked, "--data", "digits"], catch_exceptions=False)
    assert Path("made", "model.onnx").is_file()


def test_a_bundle_is_checked_on_other_images_where_its_own_are_gone(stored: StudyStore, tmp_path: Path) -> None:
    made = str(tmp_path / "best one")
    told = CliRunner().invoke(command, [str(stored.dir), "--pick", "best", "--out", made], catch_exceptions=False)
    assert f"nasdet train '{made}' --data digits --out '{made}-full'" in told.stdout
    metrics = tmp_path / "best one" / "metrics.json"
    metrics.write_text(json.dumps({**json.loads(metrics.read_text()), "data": str(tmp_path / "gone")}))
    with pytest.raises(InputError, match="gone"):
        CliRunner().invoke(command, [made, "--onnx"], catch_exceptions=False)
    result = CliRunner().invoke(command, [made, "--onnx", "--data", "digits"], catch_exceptions=False)
    assert result.stdout.startswith("model.onnx and model_nms.onnx agree with PyTorch on 8 images")


def test_the_study_of_a_function_has_no_detector(stored: StudyStore) -> None:
    stored.save_config(objective="module:function")
    with pytest.raises(InputError, match="is the study of a function"):
        CliRunner().invoke(command, [str(stored.dir), "--out", "x"], catch_exceptions=False)


def test_a_study_needs_a_folder(stored: StudyStore) -> None:
    with pytest.raises(InputError, match="no folder to write"):
        CliRunner().invoke(command, [str(stored.dir)], catch_exceptions=False)


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


def test_eval_opens_the_split_of_the_search(
    stored: StudyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = yolo_without_splits(tmp_path / "set")
    (stored.dir / "space.yaml").write_text(load_space("detnet", overrides=["data.seed=3"]).to_yaml())
    stored.save_config(data=str(data), latency={"device": "cpu", "batch": 4, "threads": 2})
    arguments = [str(stored.dir), "--pick", "best", "--out", "best", "--json"]
    CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "| latency measured on | device cpu, batch 4, threads 2 |" in Path("best", "README.md").read_text()

    looked_at: list[Dataset] = []

    def evaluate(
        bundle: Bundle, dataset: Dataset, split: str, transforms: Transforms, device: None
    ) -> dict[str, float]:
        looked_at.append(dataset)
        assert transforms == Transforms((0.75, 1.0), flip=True)
        return dict.fromkeys(KEYS, 0.5)

    monkeypatch.setattr(inference, "evaluate_bundle", evaluate)
    asked = ["best", "--data", "set", "--scales", "0.75,1", "--flip", "--json"]
    printed = json.loads(CliRunner().invoke(eval_command, asked, catch_exceptions=False).stdout)
    assert printed["scales"] == [0.75, 1.0] and printed["flip"] is True
    searched, other = (open_data(data, seed=seed).info for seed in (3, 0))
    assert looked_at[0].info.fingerprint == searched.fingerprint != other.fingerprint
    assert looked_at[0].info.source == str(data)


def yolo_without_splits(folder: Path) -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    (folder / "data.yaml").write_text("names: [" + ", ".join(f"'{i}'" for i in range(10)) + "]\n")
    for number in range(30):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        (folder / "labels" / f"{number}.txt").write_text("1 0.5 0.5 0.4 0.4\n")
    return folder


def test_a_cheaper_trial_that_may_be_as_good_is_named(stored: StudyStore, tmp_path: Path) -> None:
    for number, trial in enumerate(("t0", "t1")):
        noise = np.random.default_rng(number).normal(0, 0.2, 200)
        write_resamples(stored.trial_dir(trial), {"ap": stored.get(trial).values["ap"] + noise})
    arguments = [str(stored.dir), "--pick", "best", "--out"]
    text = CliRunner().invoke(command, [*arguments, str(tmp_path / "a")], catch_exceptions=False).stdout
    assert "note: t1 costs less and cannot be told apart in accuracy (2" in text
    assert "latency_ms 4 instead of 9" in text
    told = CliRunner().invoke(command, [*arguments, str(tmp_path / "b"), "--json"], catch_exceptions=False).stdout
    (rival,) = json.loads(told)["rivals"]
    assert rival["trial"] == "t1" and 0.15 < rival["chance"] < 0.35
