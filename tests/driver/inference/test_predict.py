"""What a bundle finds in single images: boxes and masks in the image's own pixels."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from scipy import ndimage

from nasdet.data import Tiling, open_data, read_image
from nasdet.data.contact_sheet import to_rgb
from nasdet.data.large_images import open_scene
from nasdet.driver.inference import drawing
from nasdet.driver.inference.detections import Detections
from nasdet.driver.inference.drawing import draw
from nasdet.driver.inference.predict import choose_tiling, detect_image, detect_tiles, predict_image
from nasdet.driver.inference.prediction_files import predict_files
from nasdet.errors import InputError
from nasdet.evaluation import unpack
from nasdet.models import Detections as FoundOnCanvas
from nasdet.space.specs import InputSpec
from tests.scenes import write_scenes

FOUND = FoundOnCanvas(
    boxes=torch.tensor([[10.0, 5.0, 30.0, 25.0], [-5.0, 20.0, 15.0, 60.0]]),
    scores=torch.tensor([0.9, 0.5]),
    labels=torch.tensor([1, 0]),
)
CLASSES = ("cell", "dust")
MASKED = FOUND._replace(masks=torch.ones(2, 28, 28))


def test_boxes_are_cut_to_the_image_and_masks_are_not_moved() -> None:
    plain, masked = (Detections.of(found, CLASSES, 40, 60).to_json() for found in (FOUND, MASKED))
    assert json.loads(json.dumps(masked)) == masked
    assert [{k: v for k, v in entry.items() if k != "mask"} for entry in masked] == plain
    assert plain[1] == {"class": "cell", "score": 0.5, "box": [0.0, 20.0, 15.0, 40.0]}
    pixels = unpack(masked[1]["mask"])
    assert pixels.shape == (40, 60)
    assert pixels[20:40, 0:15].all() and pixels.sum() == 20 * 15


def test_a_part_of_what_was_found() -> None:
    found = Detections.of(MASKED, CLASSES, 40, 60)
    assert len(found) == 2 and [one.name for one in found] == found.names == ["dust", "cell"]
    sure = found[found.scores > 0.6]
    assert sure.names == ["dust"] and sure.boxes.tolist() == [[10.0, 5.0, 30.0, 25.0]]
    assert sure.masks is not None and sure.masks.shape == (1, 40, 60) and sure.masks.sum() == 400
    assert found[1].label == 0 and found[-1].score == 0.5 and len(found[2:]) == 0
    assert found[2:].masks.shape == (0, 40, 60) and Detections.of(FOUND, CLASSES, 40, 60).masks is None


def test_masks_are_tinted() -> None:
    pixels = np.full((40, 60, 3), 128, np.uint8)
    plain, masked = (np.asarray(draw(to_rgb(pixels), 1.0, Detections.of(f, CLASSES, 40, 60))) for f in (FOUND, MASKED))
    assert (plain[23, 18:28] == 128).all()
    assert (masked[23, 18:28] != 128).any(1).all()
    assert (masked[:, 40:] == plain[:, 40:]).all()


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_boxes_come_in_the_pixels_of_the_image(scale: float) -> None:
    class Detector(torch.nn.Linear):
        spec = SimpleNamespace(input=SimpleNamespace(height=40, width=60, channels=3, mean=(0.0,) * 3))

        def detect(self, images: torch.Tensor, *, score_threshold: float) -> list[FoundOnCanvas]:
            assert images.shape == (1, 3, 40, 60) and score_threshold == 0.3
            return [MASKED]

    image = np.zeros((int(40 / scale), int(60 / scale), 3), np.uint8)
    found = detect_image(Detector(1, 1), image, score=0.3)  # type: ignore[arg-type]
    torch.testing.assert_close(found.boxes, FOUND.boxes / scale)
    assert found.masks is MASKED.masks


def test_files_arrays_and_pillow_images_give_the_same(scene: Path, tmp_path: Path) -> None:
    pixels = read_image(scene)[:200, :300]
    turned = Image.fromarray(np.rot90(pixels[..., 0]))
    exif = turned.getexif()
    exif[274] = 6  # "turn by 90 degrees to the right to show"
    turned.save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "plain.png")
    images = [tmp_path / "plain.png", str(tmp_path / "turned.png"), pixels, pixels[..., 0],
              Image.fromarray(pixels[..., 0]), Image.open(tmp_path / "turned.png")]  # fmt: skip
    first, *others = (predict_image(Blobs(200, 300), i, ["digit"], score=0.3, tiling=None) for i in images)  # type: ignore[arg-type]
    assert len(first) > 10 and first.size == (200, 300)
    for found in others:
        assert found.boxes.tolist() == first.boxes.tolist()
        assert np.array_equal(np.asarray(found.plot()), np.asarray(first.plot()))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 1), np.float32), "float32 pixels, only 8 and 16 bits"),
        (np.zeros((2, 4, 4, 1), np.uint8), "is not (height, width) or (height, width, channels)"),
        (np.zeros((4, 4, 2), np.uint8), "2 channels where 1 are wanted"),
        ("nowhere.png", "nowhere.png: no such image"),
    ],
)
def test_images_that_cannot_be_used(image: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        predict_image(Blobs(40, 40), image, ["digit"], score=0.3, tiling=None)  # type: ignore[arg-type]
    assert message in str(error.value)


class Blobs(torch.nn.Linear):
    """Finds the bright connected regions of each canvas: a detector that needs no training."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__(1, 1)
        size = InputSpec(height=height, width=width, channels=1, mean=(0.0,))
        self.spec = SimpleNamespace(input=size, head=SimpleNamespace(nms_iou=0.6))

    def detect(self, images: torch.Tensor, *, score_threshold: float) -> list[FoundOnCanvas]:
        return [self._found(image[0].numpy()) for image in images]

    def _found(self, canvas: np.ndarray) -> FoundOnCanvas:
        regions = ndimage.find_objects(ndimage.label(canvas > 128)[0])
        boxes = [[x.start, y.start, x.stop, y.stop] for y, x in regions if (y.stop - y.start) * (x.stop - x.start) > 25]
        found = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        return FoundOnCanvas(found, torch.full((len(found),), 0.9), torch.zeros(len(found), dtype=torch.long))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "set"
    return write_scenes(folder, open_data("digits"), side=8, scenes={"val": 1}, suffix=".tif") / "val0.tif"


@pytest.mark.parametrize("canvas", [(256, 256), (128, 256)])
def test_tiles_find_what_the_whole_image_shows(scene: Path, canvas: tuple[int, int]) -> None:
    whole = detect_image(Blobs(768, 768), read_image(scene), score=0.3)  # type: ignore[arg-type]
    tiled = detect_tiles(Blobs(*canvas), open_scene(scene), Tiling(256, 64), score=0.3)  # type: ignore[arg-type]
    small = (whole.boxes[:, 2:] - whole.boxes[:, :2]).amax(1) <= 64
    assert small.sum() > 150 and small.float().mean() > 0.97
    found = {tuple(box) for box in tiled.boxes.tolist()}
    assert len(found) == len(tiled.boxes)
    assert {tuple(box) for box in whole.boxes[small].double().tolist()} <= found
    assert len(found) - int(small.sum()) <= 2 * int((~small).sum())  # larger ones come in pieces


def test_memory_of_prediction_does_not_grow_with_the_image(scene: Path, tmp_path: Path) -> None:
    pixels, peaks = read_image(scene)[..., 0], []
    for times in (1, 2, 4):  # the first warms up
        path = tmp_path / f"{times}.tif"
        tifffile.imwrite(path, np.tile(pixels, (times, times)))
        tracemalloc.start()
        detect_tiles(Blobs(256, 256), open_scene(path), Tiling(256, 64), score=0.3)  # type: ignore[arg-type]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.5 * peaks[1]


def test_files_of_a_tiled_prediction(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "LARGEST", 400)
    bundle = SimpleNamespace(spec=Blobs(256, 256).spec, classes=("digit",), load_detector=lambda _: Blobs(256, 256))
    result = predict_files(bundle, [scene], tmp_path, score=0.3, tiling=Tiling(256, 64))  # type: ignore[arg-type]
    (entry,) = json.loads((tmp_path / "predictions.json").read_text())
    assert (entry["width"], entry["height"], len(entry["boxes"])) == (768, 768, result["boxes"])
    assert max(box["box"][2] for box in entry["boxes"]) > 700
    with Image.open(tmp_path / "0000-val0.png") as picture:
        assert picture.size == (384, 384)


PLAIN: dict[str, Any] = {}
TRAINED = {"tile": {"size": 512, "overlap": 100}}


def bundle(card: dict[str, Any]) -> Any:
    return SimpleNamespace(metrics=card, spec=SimpleNamespace(input=InputSpec(height=192, width=256)))


@pytest.mark.parametrize(
    ("tile", "overlap", "card", "expected"),
    [
        (None, None, TRAINED, None),
        (640, None, TRAINED, Tiling(640)),
        ("640", None, TRAINED, Tiling(640)),
        ("640", 200, PLAIN, Tiling(640, 200)),
        (16, None, PLAIN, Tiling(16)),
        ("auto", None, PLAIN, Tiling(256)),
        ("auto", None, TRAINED, Tiling(512, 100)),
        ("auto", 200, TRAINED, Tiling(512, 200)),
    ],
)
def test_tiles_that_are_asked_for(
    tile: str | None, overlap: int | None, card: dict[str, Any], expected: Tiling | None
) -> None:
    assert choose_tiling(bundle(card), tile, overlap) == expected


@pytest.mark.parametrize(
    ("tile", "overlap", "where"),
    [(None, 10, "--overlap"), ("ten", None, "--tile"), ("8", None, "--tile"), ("100", 60, "--overlap")],
)
def test_wrong_tiles_are_named(tile: str | None, overlap: int | None, where: str) -> None:
    with pytest.raises(InputError) as error:
        choose_tiling(bundle(PLAIN), tile, overlap)
    assert error.value.where == where
