"""`nasdet.load` and what a detector does, on a bundle trained for a few steps."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import nasdet
from nasdet.cli.predict import command as predict_command
from nasdet.data import open_data, read_image
from nasdet.data.writers import write_folder
from nasdet.export import Bundle, write_bundle


@pytest.fixture(scope="module")
def detector(digits_bundle: Bundle) -> nasdet.Detector:
    return nasdet.load(digits_bundle.path)


@pytest.fixture(scope="module")
def images() -> list[Path]:
    return [record.path for record in open_data("digits").images("val")[:3]]


def test_a_bundle_is_opened(detector: nasdet.Detector, digits_bundle: Bundle) -> None:
    assert detector.path == digits_bundle.path and detector.classes == digits_bundle.classes
    assert detector.spec == digits_bundle.spec and detector.recipe == digits_bundle.recipe
    assert detector.card["data"] == "digits" and not detector.network.training
    assert repr(detector).startswith(f"Detector({str(detector.path)!r}, 10 classes")
    with pytest.raises(nasdet.InputError, match="no such bundle folder") as error:
        nasdet.load("nowhere")
    assert error.value.where == "nowhere" and error.value.remedy


def test_one_image_or_several(detector: nasdet.Detector, images: list[Path]) -> None:
    threads = torch.get_num_threads()
    one = detector.predict(images[0], score=0.01)
    pixels = read_image(images[0])
    several = detector.predict([str(images[0]), pixels, Image.open(images[0])], score=0.01)
    assert torch.get_num_threads() == threads
    assert isinstance(one, nasdet.Detections) and len(one) > 3
    assert one.boxes.shape == (len(one), 4) and one.labels.dtype == np.int64 and (one.scores >= 0.01).all()
    assert (one.boxes >= 0).all() and (one.boxes <= 96).all() and one.names[0] == detector.classes[one.labels[0]]
    for found in several:
        np.testing.assert_array_equal(found.boxes, one.boxes)
        np.testing.assert_array_equal(found.labels, one.labels)
    assert detector.predict([]) == [] and detector.predict((images[0],), score=0.01)[0].names == one.names
    assert len(detector.predict(images[0], score=1.0)) == 0
    assert one.plot().size == (96, 96) and np.asarray(one.plot()).std() > 0


def test_tiles(detector: nasdet.Detector, images: list[Path]) -> None:
    scene = np.concatenate([read_image(path) for path in images], axis=1)
    tiled = detector.predict(scene, score=0.01, tile=96, overlap=24)
    assert tiled.size == (96, 288) and tiled.boxes[:, 2].max() > 200
    with pytest.raises(nasdet.InputError, match="an overlap without tiles"):
        detector.predict(scene, overlap=24)


def test_the_files_of_a_prediction(detector: nasdet.Detector, images: list[Path]) -> None:
    report = detector.predict_files(images[0], "found", score=0.01)
    assert report["images"] == 1 and report["boxes"] == len(detector.predict(images[0], score=0.01))
    assert json.loads(Path("found", "predictions.json").read_text()) == report["predictions"]
    assert len(list(Path("found").glob("*.png"))) == 1


def test_pycocotools_finds_the_figures_of_the_evaluation(detector: nasdet.Detector) -> None:
    data = open_data("digits")
    figures = detector.evaluate("digits", "val")
    report = detector.predict_files([record.path for record in data.images("val")], "found", score=0.0)
    truth = data.coco("val")
    ids = {image["file_name"]: image["id"] for image in truth["images"]}
    names = {image["id"]: Path(image["file_name"]).name for image in _json("found/coco_images.json")["images"]}
    results = [{**r, "image_id": ids[names[r["image_id"]]]} for r in _json("found/coco_results.json")]
    assert report["images"] == figures["images"] and len(results) == report["boxes"]
    coco = COCO()
    coco.dataset = truth
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    own = [figures[name] for name in ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l")]
    np.testing.assert_allclose(evaluation.stats[:6], own, atol=1e-6)
    assert figures["ap"] > 0


def _json(path: str) -> Any:
    return json.loads(Path(path).read_text())


def test_broken_images_are_skipped_and_nothing_stale_stays(detector: nasdet.Detector, images: list[Path]) -> None:
    Path("in").mkdir()
    for number, image in enumerate(images):
        Path("in", f"{number}.png").write_bytes(image.read_bytes())
    assert detector.predict_files("in", "in/out", score=0.01)["skipped"] == []
    Path("in/out/0001-mine.png").write_text("the user's own")
    Path("in", "0.png").write_bytes(images[0].read_bytes()[:300])
    Path("in", "3.png").write_text("no image")
    Image.new("RGB", (9, 9)).save("in/4.png")
    report = detector.predict_files("in", "in/out", score=0.01)
    assert report["images"] == 2 and len(report["skipped"]) == 3
    for line, reason in zip(
        report["skipped"], ("cannot be decoded", "not an image", "3 channels where 1"), strict=True
    ):
        assert reason in line and "\n" not in line
    pictures = sorted(path.name for path in Path("in/out").glob("*.png"))
    assert pictures == ["0000-1.png", "0001-2.png", "0001-mine.png"]
    assert sorted(path.name for path in Path("in/out/labels").iterdir()) == ["0000-1.txt", "0001-2.txt"]
    done = CliRunner().invoke(predict_command, [str(detector.path), "in", "--out", "in/out"])
    assert isinstance(done.exception, nasdet.InputError) and " boxes in 2 images -> in/out" in done.stdout
    assert str(done.exception).startswith("3 of 5 images were skipped: in/0.png: cannot be decoded (")
    with pytest.raises(nasdet.InputError, match=r"0.png: cannot be decoded .* \(and 1 more images cannot be read\)"):
        detector.predict_files(["in/0.png", "in/3.png"], "none")
    assert not Path("none").exists()


def test_a_full_disk_is_one_line_and_what_was_found_is_kept(detector: nasdet.Detector, images: list[Path]) -> None:
    """A limit of the size of files stands for the end of the disk: the kernel refuses to write on."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
    try:
        with pytest.raises(
            nasdet.InputError, match=r"^found: cannot be written \(File too large\); the pictures of 0 of"
        ):
            detector.predict_files(images, "found", score=0.01)
        with pytest.raises(nasdet.InputError, match=r"^copy: cannot be written .*; nothing is left behind$"):
            write_bundle(
                Path("copy"), spec=detector.spec, recipe=detector.recipe, state_dict=detector.network.state_dict(),
                classes=detector.classes, card={},
            )  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(Path("found").glob("*.png")) and not Path("copy").exists() and not list(Path().glob(".copy-*"))


def test_supervision_takes_what_was_found(detector: nasdet.Detector, images: list[Path]) -> None:
    supervision = pytest.importorskip("supervision")
    found = detector.predict(images[0], score=0.01)
    other = found.to_supervision()
    assert isinstance(other, supervision.Detections) and len(other) == len(found)
    np.testing.assert_allclose(other.xyxy, found.boxes, atol=1e-4)
    assert other.data["class_name"].tolist() == found.names and other.class_id.tolist() == found.labels.tolist()
    picture = supervision.BoxAnnotator().annotate(np.zeros((96, 96, 3), np.uint8), other)
    assert picture.any()


def test_metrics_of_a_split(detector: nasdet.Detector) -> None:
    figures = detector.evaluate()  # on the validation split of the data set that its card names
    assert figures["images"] == 150 and 0 <= figures["ap"] <= figures["ap50"] <= 1
    with pytest.raises(nasdet.InputError, match="no split 'dev'"):
        detector.evaluate("digits", "dev")


def test_classes_go_by_name(detector: nasdet.Detector, tmp_path: Path) -> None:
    """The same classes in another order are put in the bundle's; others are one plain line."""
    plain = open_data("digits")
    folder = write_folder(plain.in_class_order(plain.info.classes[::-1]), "yolo", tmp_path / "turned")
    assert open_data(folder).info.classes == plain.info.classes[::-1]
    dataset = detector.dataset(folder)
    assert dataset.info.classes == detector.classes
    theirs = {r.path.stem: r.labels.tolist() for r in dataset.images("val")}
    assert theirs == {r.path.stem: r.labels.tolist() for r in plain.images("val")}
    assert detector.evaluate(folder)["ap"] == pytest.approx(detector.evaluate("digits")["ap"], abs=1e-6)
    text = (folder / "data.yaml").read_text()
    (folder / "data.yaml").write_text(text.replace('"3"', '"three"'))
    wanted = r"are not the bundle's .*: it lacks 3 \(1\); the bundle does not know three \(1\); evaluate on data"
    with pytest.raises(nasdet.InputError, match=wanted):
        detector.evaluate(folder)


def test_onnx_files_are_noted_in_the_card(digits_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    from nasdet.export import export_onnx

    made: list[Path] = []

    def export(network: object, batch: torch.Tensor, folder: Path) -> export_onnx.OnnxCheck:
        made.append(folder)
        assert batch.shape == (8, 1, 64, 64)
        return export_onnx.OnnxCheck(8, 0.0, 0.0, 5, 1.5, 1)

    monkeypatch.setattr(export_onnx, "export_onnx", export)
    detector = nasdet.load(digits_bundle.path)
    assert detector.export_onnx().ms == 1.5 and made == [digits_bundle.path]
    assert detector.card["onnx"]["detections"] == 5
