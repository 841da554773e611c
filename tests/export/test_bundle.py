"""A bundle gives back what was put in, and every fault of a folder is one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from nasdet.data import Tiling, open_data
from nasdet.errors import InputError
from nasdet.export import Bundle, is_bundle, read_bundle, write_bundle
from nasdet.export.bundle import TILE, check_free, open_bundle_data
from nasdet.export.model_card import model_card
from nasdet.models import Detector
from nasdet.space.specs import Recipe
from tests.scenes import write_scenes


def test_round_trip(bundle: Bundle, detector: Detector) -> None:
    again = read_bundle(str(bundle.path))
    assert again.spec == detector.spec and again.recipe == Recipe(epochs=7)
    assert again.classes == ("cell", "plate<let>", "ring") and again.metrics["values"]["ap"] == 0.4321
    images = torch.rand(2, 2, 64, 96) * 255
    with torch.no_grad():
        assert torch.equal(again.load_detector()(images).scores, detector(images).scores)
    files = {p.name for p in bundle.path.iterdir()}
    assert files == {"spec.json", "recipe.json", "classes.json", "metrics.json", "weights.safetensors", "README.md"}
    assert [p.name for p in bundle.path.parent.iterdir()] == ["bundle"], "no temporary folder is left"


def test_tiles_that_the_data_ask_for_come_before_those_of_the_bundle(tmp_path: Path) -> None:
    digits, card = open_data("digits"), {TILE: {"size": 64, "overlap": 8}}
    scenes = write_scenes(tmp_path / "scenes", digits, side=2, scenes={"train": 1, "val": 1})
    own = tmp_path / "own.yaml"
    own.write_text(f"root: {scenes}\ntile: {{size: 48, overlap: 16}}\n")
    assert open_bundle_data(str(scenes), card).info.tiling == Tiling(64, 8)
    assert open_bundle_data(str(own), card).info.tiling == Tiling(48, 16)


def test_the_card_has_metrics_and_commands(bundle: Bundle) -> None:
    card = (bundle.path / "README.md").read_text()
    measured = "| latency measured on | device cpu, batch 1, threads 2 |"
    for part in (
        "| ap | 0.4321 |",
        "| trial | t7 |",
        measured,
        "(N, 2, 64, 96)",
        "nasdet predict bundle",
        '"epochs": 7',
    ):
        assert part in card
    assert "nasdet train bundle --data 'my data' --out bundle-full" in card


def test_the_card_states_the_initialisation(bundle: Bundle) -> None:
    assert "Trained with nasdet from random initialisation." in (bundle.path / "README.md").read_text()
    recipe, out = Recipe(init="/w/mae.pth"), bundle.path
    card = model_card(bundle.spec, recipe, bundle.classes, {}, out)
    assert "Trained with nasdet from weights of /w/mae.pth." in card and "# in full, from weights of /w/mae.pth" in card
    told = model_card(bundle.spec, recipe, bundle.classes, {"init": "weights of mae (3 of 4 tensors)"}, out)
    assert "Trained with nasdet from weights of mae (3 of 4 tensors)." in told


def write(folder: Path, like: Bundle, overwrite: bool = False) -> Bundle:
    return write_bundle(
        folder,
        spec=like.spec,
        recipe=Recipe(),
        state_dict=like.state_dict(),
        classes=like.classes,
        card={},
        overwrite=overwrite,
    )


def test_nothing_is_overwritten_unasked(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert is_bundle(write(tmp_path / "empty", bundle).path)
    with pytest.raises(InputError, match="holds a bundle already"):
        write(bundle.path, bundle)
    (bundle.path / "model.onnx").write_text("of the old weights")
    assert write(bundle.path, bundle, overwrite=True).recipe == Recipe()
    assert not (bundle.path / "model.onnx").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    for overwrite in (False, True):
        with pytest.raises(InputError, match="is not empty and not a bundle"):
            write(tmp_path / "photos", bundle, overwrite)
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "photos" / "a.jpg" / "x", bundle)


def test_a_training_that_ended_in_its_first_epoch_leaves_the_folder_free(bundle: Bundle, tmp_path: Path) -> None:
    training = tmp_path / "new" / "training"
    training.mkdir(parents=True)
    (training / "job.json").touch()
    check_free(tmp_path / "new", overwrite=False)
    (training / "last.pt").touch()
    with pytest.raises(InputError, match="holds a bundle already"):
        check_free(tmp_path / "new", overwrite=False)
    assert is_bundle(write(tmp_path / "new", bundle, overwrite=True).path)


def edit(name: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return apply


def drop_tensor(folder: Path) -> None:
    tensors = load_file(folder / "weights.safetensors")
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, folder / "weights.safetensors")


def add_tensor(folder: Path) -> None:
    tensors = load_file(folder / "weights.safetensors")
    save_file({**tensors, "extra": torch.zeros(1)}, folder / "weights.safetensors")


FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: (f / "recipe.json").unlink(), "the bundle lacks recipe.json; export it again"),
    (lambda f: (f / "spec.json").write_text("{"), "spec.json is not JSON"),
    (lambda f: (f / "spec.json").write_text("[]"), "spec.json the whole file: "),
    (
        edit("spec.json", lambda s: s["head"].update(newer=1)),
        "unknown key 'head.newer'; it was written by a newer nasdet",
    ),
    (edit("spec.json", lambda s: s["input"].update(height=65)), "height 65 and width 96 must be multiples of 4"),
    (edit("spec.json", lambda s: s["head"].update(width=24)), "the spec's network needs"),
    (edit("spec.json", lambda s: s["neck"].update(kind="fpm")), "unknown neck 'fpm'"),
    (edit("recipe.json", lambda r: r.update(epochs=0)), "recipe.json epochs: "),
    (lambda f: (f / "metrics.json").write_text(f'{{"ap": 1{"0" * 400}}}'), "metrics.json is not JSON"),
    (lambda f: (f / "metrics.json").write_text("[]"), "metrics.json is not the card of a bundle"),
    (lambda f: (f / "classes.json").write_text('["one"]'), "classes.json names 1 classes, the spec has 3"),
    (lambda f: (f / "classes.json").write_text('{"a": 1}'), "classes.json is not a list of names"),
    (lambda f: (f / "weights.safetensors").write_bytes(b"nothing"), "weights.safetensors cannot be read"),
    (drop_tensor, "weights.safetensors lacks 1 tensors of the spec's network"),
    (add_tensor, "weights.safetensors holds 1 tensors that the spec's network has not, the first is extra"),
]


@pytest.mark.parametrize(("spoil", "message"), FAULTS, ids=[m[:40] for _, m in FAULTS])
def test_every_fault_is_one_line(bundle: Bundle, spoil: Callable[[Path], object], message: str) -> None:
    spoil(bundle.path)
    with pytest.raises(InputError) as error:
        read_bundle(bundle.path).load_detector()
    assert message in str(error.value) and "\n" not in str(error.value)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such bundle folder"):
        read_bundle(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"is not a bundle; a bundle holds spec\.json"):
        read_bundle(tmp_path)
