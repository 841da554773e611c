"""Wrong input on the command line: one plain line that says what, where and what to do, and exit code 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nasdet.cli.main import COMMANDS, _run
from nasdet.models import build_detector
from nasdet.space.heads import TaskAlignedSpec
from nasdet.space.specs import DetectorSpec, InputSpec, Recipe

SPEC = DetectorSpec(input=InputSpec(channels=1), head=TaskAlignedSpec(classes=10))


def bundle(folder: Path, classes: list[str] | None = None, spec: DetectorSpec = SPEC) -> Path:
    from nasdet.export import write_bundle

    names = classes or [str(i) for i in range(10)]
    state = build_detector(spec).state_dict()
    write_bundle(folder, spec=spec, recipe=Recipe(), state_dict=state, classes=names, card={})
    return folder


def broken(file: str, text: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        (bundle(folder / "b") / file).write_text(text)

    return prepare


def without(file: str) -> Callable[[Path], None]:
    return lambda folder: (bundle(folder / "b") / file).unlink()


def study(text: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        (folder / "s").mkdir()
        (folder / "s" / "study.json").write_text(text)

    return prepare


def text_image(folder: Path) -> None:
    bundle(folder / "b")
    (folder / "x.png").write_text("no image")


def colour_image(folder: Path) -> None:
    bundle(folder / "b")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / "x.png")


def other_classes(folder: Path) -> None:
    bundle(folder / "b", classes=[f"class {i}" for i in range(10)])


def old_training(folder: Path) -> None:
    bundle(folder / "b")
    (folder / "t" / "training").mkdir(parents=True)
    (folder / "t" / "training" / "last.pt").write_text("")


def damaged_training(folder: Path) -> None:
    old_training(folder)
    (folder / "t" / "training" / "job.json").write_text("{}")


def training_on_other_data(folder: Path) -> None:
    import torch

    from nasdet.driver.training.request import TrainingRequest
    from nasdet.trainers.full_training import FullJob

    bundle(folder / "b")
    TrainingRequest(FullJob({}, {}, 0, str(folder / "t"), {}), 1, None, "another fingerprint").write()
    torch.save({"history": {}}, folder / "t" / "training" / "last.pt")


def gray_image(folder: Path) -> None:
    bundle(folder / "b")
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(folder / "x.png")


def full_folder(folder: Path) -> None:
    bundle(folder / "b")
    (folder / "t").mkdir()
    (folder / "t" / "photo.png").touch()


def file(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def with_file(name: str, text: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        bundle(folder / "b")
        (folder / name).write_text(text)

    return prepare


def unfitting_weights(folder: Path) -> None:
    just_bundle(folder)
    torch.save({"fc.weight": torch.zeros(5, 16)}, folder / "fc.pth")


def nothing(folder: Path) -> None:
    """Nothing to prepare."""


def just_bundle(folder: Path) -> None:
    bundle(folder / "b")


Case = tuple[str, Callable[[Path], None], str]
CASES: list[Case] = [
    # commands and options
    ("serch detnet", nothing, "no command 'serch'; did you mean 'search'?"),
    ("search", nothing, "no search space and no data set; add --data SRC (try --data digits)"),
    ("search detnet --pick best", nothing, "--pick: says what to train; add --train"),
    (
        "search detnet --train --pick latency_ms<x",
        nothing,
        "--pick: 'latency_ms<x' is no rule; use knee, best, fastest",
    ),
    ("search detnet --train --pick t0001", nothing, "'t0001' is no rule"),
    ("search quick --data digits --train --set budget.time_limit=null", nothing, "--train: no time limit; add"),
    ("search detnet --trails 3", nothing, "no such option"),
    ("search detnet --trials many", nothing, "'many' is not a valid integer"),
    ("search detnet --trials 0", nothing, "0 is not in the range x>=1"),
    ("search detnet --max-epochs -1", nothing, "-1 is not in the range x>=1"),
    ("search detnet --time-limit soon", nothing, "--time-limit: 'soon' is not a duration"),
    ("search detnet --time-limit 0s", nothing, "--time-limit: '0s' is not above 0; write for example 30m"),
    ("search detnet --workers zero", nothing, "--workers: 'zero' is no number of at least 1"),
    ("search detnet --gpus auto", nothing, "--gpus: 'auto' is no number of at least 1; write for example 2"),
    ("search detnet --gpus 99 --dry-run", nothing, "no GPU here" if not torch.cuda.is_available() else "99 GPUs but"),
    ("search detnet --workers 99 --dry-run --set resources.device=cpu", nothing, "99 workers per trial but only"),
    # spaces
    ("search detnot", nothing, "no search space 'detnot'; give a YAML file or a bundled name: detnet"),
    ("search missing.yaml", nothing, "missing.yaml"),
    ("check bad.yaml", file("bad.yaml", "space: ["), "bad.yaml"),
    ("check bad.yaml", file("bad.yaml", "spice: {}\n"), "spice"),
    ("search detnet --set budget", nothing, "budget"),
    ("search detnet --set budget.trails=3", nothing, "did you mean 'trials'?"),
    ("check detnet --set fixed.recipe.preset=lsj_10", nothing, "unknown recipe 'lsj_10'; did you mean 'lsj_100'?"),
    ("search detnet --set space.recipe.base_lr.low=1", nothing, "low 1.0 is not below high 0.008"),
    # data
    ("search detnet --dry-run --data nowhere", nothing, "nowhere"),
    ("search quick --dry-run", nothing, "no data set; add --data SRC (try --data digits)"),
    ("data empty", lambda f: (f / "empty").mkdir(), "empty"),
    ("data nowhere", nothing, "nowhere"),
    ("data digits --split tests", nothing, "tests"),
    ("data digits --convert voc", nothing, "--out"),
    ("data bad.yaml", file("bad.yaml", "rot: x\n"), "rot"),
    # studies
    ("status nowhere", nothing, "no study 'nowhere'"),
    ("resume nowhere", nothing, "no study 'nowhere'"),
    ("pareto nowhere", nothing, "no study 'nowhere'"),
    ("ui nowhere", nothing, "no study 'nowhere'"),
    ("export nowhere --out x", nothing, "no study 'nowhere'"),
    ("status s", study("{"), "damaged study.json"),
    ("status s", study("{}"), "damaged study.json: it does not say 'study'"),
    ("search detnet --dry-run --storage nonsense://x", nothing, "--storage: unknown kind of storage 'nonsense://x'"),
    ("search detnet --dry-run --address 127.0.0.1:9", nothing, "--address 127.0.0.1:9: cannot reach Ray"),
    ("search detnet --dry-run --address 127.0.0.1:99999", nothing, "cannot reach Ray"),
    ("search detnet --dry-run --address ray://127.0.0.1:10001", nothing, "Ray Client cannot carry a search"),
    ("search detnet --dry-run --storage sqlite:///x.db", file("x.db", "no database"), "is not an SQLite database"),
    ("search detnet --dry-run --tracking-uri nonsense://x", nothing, "--tracking-uri"),
    ("search detnet --dry-run --tracking-uri http://127.0.0.1:9", nothing, "--tracking-uri"),
    ("search detnet --study s --dry-run", study("{}"), "the folder already holds a study; nasdet resume s"),
    # bundles
    ("eval nowhere --data digits", nothing, "no such bundle folder; make one with nasdet export or nasdet train"),
    ("eval empty --data digits", lambda f: (f / "empty").mkdir(), "is not a bundle"),
    ("eval b --data digits", without("weights.safetensors"), "the bundle lacks weights.safetensors"),
    ("eval b --data digits", without("classes.json"), "the bundle lacks classes.json"),
    ("eval b --data digits", broken("spec.json", "{"), "spec.json is not JSON"),
    ("eval b --data digits", broken("spec.json", '{"colour": 1}'), "unknown key 'colour'"),
    ("eval b --data digits", broken("weights.safetensors", "x"), "weights.safetensors cannot be read"),
    ("eval b --data digits", broken("metrics.json", "[]"), "metrics.json is not the card of a bundle"),
    ("eval b --data digits", other_classes, "are not the bundle's class 0"),
    ("eval b --data digits --split tset", just_bundle, "no split 'tset'; the splits are train, val, test"),
    ("eval b", just_bundle, "missing option '--data'"),
    ("eval b --data digits --scales 1,x", just_bundle, "--scales: '1,x' is no list of numbers; write for example"),
    ("eval b --data digits --scales 0", just_bundle, "--scales: scales must be different numbers above 0"),
    ("predict b nowhere.png --out o", just_bundle, "nowhere.png: no such image or folder"),
    ("predict b x.png --out o", text_image, "x.png"),
    ("predict b x.png --out o", colour_image, "3 channels where 1 are wanted"),
    ("predict b x.png --out /proc/no/where", gray_image, "/proc/no/where: cannot be written"),
    ("predict b x.png --out x.png", gray_image, "x.png: cannot be written (File exists)"),
    ("predict b x.png --out o --score 2", just_bundle, "2.0 is not in the range 0<=x<=1"),
    # training
    ("train nowhere --data digits --out t", nothing, "no such bundle, specification or system"),
    ("train b --data digits --out t --epochs 0", just_bundle, "0 is not in the range x>=1"),
    ("train b --data digits --out t --epochs 2 --time-limit 1m", just_bundle, "exclude each other"),
    ("train b --data digits --out t --resume", just_bundle, "t: nothing to resume here"),
    ("train b --data digits --out t", old_training, "t: holds a training already; add --resume"),
    ("train b --data digits --out t", full_folder, "t: is not empty and not a bundle; name another folder"),
    ("train b --data digits --out t --workers 3", just_bundle, "batch size 16 does not split over 3 workers"),
    ("train b --data digits --out t --init x.pth", just_bundle, "x.pth: no such checkpoint; --init takes random, a"),
    ("train b --data digits --out t --init b/spec.json", just_bundle, "b/spec.json: cannot be read as weights"),
    ("train b --data digits --out t --init timm:resnet50.a1_in1k", just_bundle, "are not on this machine; nothing is"),
    ("train b --data digits --out t --init timm:resnet5O", just_bundle, "timm has no model 'resnet5O'; did you mean"),
    (
        "train b --data digits --out t --init fc.pth",
        unfitting_weights,
        "fc.pth: none of its 1 tensors fits the",
    ),
    (
        "train b --data digits --out t --recipe dsodd",
        just_bundle,
        "--recipe: no recipe 'dsodd'; did you mean 'dsod', or",
    ),
    (
        "train b --data digits --out t --recipe r.yaml",
        with_file("r.yaml", "extends: dsod\nrecipe:\n  batchsize: 8\n"),
        "r.yaml:3: recipe.batchsize: unknown key; did you mean 'batch_size'?",
    ),
    ("train b --data digits --out t --recipe r.yaml", with_file("r.yaml", ""), "is empty; a recipe needs 'recipe'"),
    (
        "train b --data digits --out t --recipe r.yaml",
        with_file("r.yaml", "extends: megdet\nrecipe: {batch_size: 1024}\n"),
        "the recipe's batch of 1024 is larger than the training split of 600 images; give a YAML with",
    ),
    (
        "train b --data digits --out t --recipe dsod --workers 5",
        just_bundle,
        "batch size 128 does not split over 5 workers",
    ),
    ("train b --data digits --out t --resume", damaged_training, "last.pt: damaged checkpoint"),
    (
        "train b --data digits --out t --resume",
        training_on_other_data,
        "digits: other images, boxes, classes or splits",
    ),
    ("train b --data digits --out /proc/no/where", just_bundle, "cannot be written"),
    ("train s.json --data digits --out t", file("s.json", '{"backbone": 1}'), "s.json: backbone"),
    (
        "train s.json --data digits --out t",
        file("s.json", '{"neck": {"kind": "fpm"}}'),
        "neck: unknown neck 'fpm'",
    ),
]


@pytest.mark.parametrize(("line", "prepare", "message"), CASES, ids=[f"{c[0]}-{c[2]}" for c in CASES])
def test_one_plain_line(
    line: str, prepare: Callable[[Path], None], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(tmp_path)
    assert _run(line.split(), debug=False) == 2
    captured = capsys.readouterr()
    said = captured.err.strip()
    assert message in said
    assert said.startswith("nasdet: ") and "Traceback" not in said
    assert len([text for text in said.splitlines() if text.startswith("nasdet: ")]) == 1
    assert captured.out == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run([command, "--help"], debug=False) == 0
    assert f"nasdet {command}" in capsys.readouterr().out.split("Example", 1)[1]


def test_help_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = "import sys; from nasdet.cli.main import _run; _run(['--help'], False); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1].replace("'", '"')))
    assert not loaded & {"torch", "ray", "mlflow", "optuna", "pydantic", "numpy", "rich"}


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run([], debug=False) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Usage: nasdet") and "search " in captured.out and captured.err == ""


def test_dry_run_json_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = (
        "search detnet --dry-run --json --storage sqlite:///x.db --set resources.device=cpu --set resources.workers=1"
    )
    assert _run(line.split(), debug=False) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ready"] and told["space"] == "detnet" and told["data"] == "digits" and told["images"]["train"] > 0
    assert list(tmp_path.iterdir()) == []


def test_doctor_works_without_torch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    assert _run(["doctor", "--json"], debug=False) == 1
    captured = capsys.readouterr()
    assert not json.loads(captured.out)["checks"]["devices"]["ok"]
    assert "does not work here: torchvision operators, devices" in captured.err
