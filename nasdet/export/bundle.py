"""A detector in a folder: spec.json, recipe.json, classes.json, metrics.json, weights.safetensors, README.md.

One decision: nothing in it is pickled and nothing in it is code. The network is built from its specification, tensors
are loaded into it, and everything that is wrong with the folder is one plain line.
"""

from __future__ import annotations

import dataclasses
import json
import os
import reprlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from nasdet.errors import InputError
from nasdet.export.model_card import model_card
from nasdet.files import atomic_write
from nasdet.space.parameter_paths import key_of
from nasdet.space.spec_base import Spec
from nasdet.space.specs import DetectorSpec, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from nasdet.data import Dataset, Tiling
    from nasdet.models import Detector

SPEC, RECIPE, CLASSES, METRICS = "spec.json", "recipe.json", "classes.json", "metrics.json"
WEIGHTS, README, ONNX, ONNX_NMS = "weights.safetensors", "README.md", "model.onnx", "model_nms.onnx"
TRAINING = "training"
"""Folder inside a bundle where a training in full keeps what it was asked (`JOB`) and its last checkpoint (`LAST`)."""
JOB, LAST = "job.json", "last.pt"
TILE = "tile"
"""Key of the card: size and overlap of the tiles that the detector was trained on."""
NEEDED = (SPEC, RECIPE, CLASSES, WEIGHTS)
_NUMBER = int | float
_CARD: dict[str, Any] = dict.fromkeys(("data", "study", "space", "trial"), str)
_CARD |= {"data_seed": int, "max_bad": _NUMBER, "values": dict}
"""Keys of the card that commands read, and their types."""
LARGEST_JSON = 16 << 20
"""Bytes of a JSON file of a bundle; real ones have a few thousand."""
S = TypeVar("S", bound=Spec)


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A bundle that has been read; the weights are read by `load_detector`."""

    spec: DetectorSpec
    recipe: Recipe
    classes: tuple[str, ...]
    metrics: dict[str, Any]
    """The card it was written with: data, budget, values; empty if it has none."""
    path: Path

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors of `weights.safetensors`, on the CPU."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(self.path / WEIGHTS)
        except (SafetensorError, OSError) as error:
            raise _broken(self.path / WEIGHTS, f"cannot be read ({error})") from None

    def load_detector(self, device: str = "cpu") -> Detector:
        """The detector with its weights, in evaluation mode.

        Raises:
            InputError: the weights are corrupt or not those of the spec.
        """
        import torch

        from nasdet.models import build_detector

        weights = self.state_dict()
        # First without memory: a damaged spec may ask for more than the machine has.
        try:
            with torch.device("meta"):
                planned = build_detector(self.spec).state_dict()
        except (RuntimeError, ValueError, ArithmeticError) as error:
            reason = " ".join(str(error).split())[:200]
            raise _broken(self.path / SPEC, f"describes no network that can be built ({reason})") from None
        _check_shapes(planned, weights, self.path / WEIGHTS)
        detector = build_detector(self.spec)
        detector.load_state_dict(weights)
        return detector.to(device).eval()


def is_bundle(path: Path) -> bool:
    """Whether a folder looks like a bundle, whole or not."""
    return (path / SPEC).is_file() and (path / WEIGHTS).is_file()


def write_bundle(
    out: Path,
    *,
    spec: DetectorSpec,
    recipe: Recipe,
    state_dict: Mapping[str, Tensor],
    classes: Sequence[str],
    card: Mapping[str, Any],
    overwrite: bool = False,
) -> Bundle:
    """Write a bundle; a new folder appears whole or not at all, and files of an old one are replaced one by one.

    Args:
        out: folder to make.
        spec: the detector.
        recipe: how it was trained, and would be trained in full.
        state_dict: its weights.
        classes: names in the order of the labels.
        card: JSON values for the model card and `metrics.json`: data, study, trial, epochs, values, ...
        overwrite: replace the files of a bundle that is there, and leave other files beside them; any other non-empty
            folder is never written to.

    Raises:
        InputError: `out` is taken or cannot be written.
    """
    if len(classes) != spec.head.classes:
        raise ValueError(f"{len(classes)} class names for {spec.head.classes} classes")
    check_free(out, overwrite=overwrite)
    texts = {SPEC: spec.to_json(), RECIPE: recipe.to_json(), CLASSES: list(classes), METRICS: dict(card)}
    kept = "the bundle that was there is kept" if is_bundle(out) else "nothing is left behind"
    with writing(out, kept):
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            for name, content in texts.items():
                (part / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            (part / README).write_text(model_card(spec, recipe, classes, card, out), encoding="utf-8")
            _save_weights(state_dict, part / WEIGHTS)
            part.chmod(0o755)
            _put_in_place(part, out)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return read_bundle(out)


def note_in_card(bundle: Bundle, **values: Any) -> Bundle:
    """Add JSON values to the card of a bundle that is there, in metrics.json and README.md."""
    card = {**bundle.metrics, **values}
    with writing(bundle.path, "the bundle is kept as it was"):
        atomic_write(bundle.path / METRICS, json.dumps(card, indent=1) + "\n")
        text = model_card(bundle.spec, bundle.recipe, bundle.classes, card, bundle.path)
        atomic_write(bundle.path / README, text)
    return read_bundle(bundle.path)


@contextmanager
def writing(out: Path, kept: str = "") -> Iterator[None]:
    """Turn an `OSError` inside, or safetensors' own of a full disk, into one line that names `out` and says what is
    `kept`."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"cannot be written ({reason})", where=str(out), remedy=kept) from error


def check_free(out: Path, *, overwrite: bool) -> None:
    """Raise `InputError` unless a bundle may be written to `out`."""
    if not out.exists() or (out.is_dir() and all(_is_unbegun(path) for path in out.iterdir())):
        return
    if not is_bundle(out) and not (out / TRAINING).is_dir():
        raise InputError("is not empty and not a bundle", where=str(out), remedy="name another folder")
    if not overwrite:
        raise InputError("holds a bundle already", where=str(out), remedy="name another folder, or remove this one")


def _is_unbegun(path: Path) -> bool:
    """Whether this is what a training leaves that ended in its first epoch."""
    return path.name == TRAINING and (path / JOB).is_file() and not (path / LAST).exists()


def tile_card(dataset: Dataset) -> dict[str, Any]:
    """What the card says of the tiles that the images were cut into; nothing if they were not."""
    tiling = dataset.info.tiling
    return {TILE: {"size": tiling.size, "overlap": tiling.shared}} if tiling else {}


def tiling_of(card: Mapping[str, Any]) -> Tiling | None:
    """The tiles that the bundle of this card was trained on; None: on whole images."""
    from nasdet.data import Tiling

    return TypeAdapter(Tiling).validate_python(card[TILE]) if card.get(TILE) else None


def open_bundle_data(source: str, card: Mapping[str, Any]) -> Dataset:
    """The data set `source`, split and cut into tiles as the data behind a bundle's card was, unless it says how.

    A relative folder is meant absolutely from here on, because workers have another working directory."""
    from nasdet.data import open_data

    known = str(Path(source).absolute()) if os.path.exists(source) else source  # noqa: PTH110 (takes any text)
    stated = {name: card[key] for key, name in (("data_seed", "seed"), ("max_bad", "max_bad")) if key in card}
    return open_data(known, tile=tiling_of(card), **stated)


def read_bundle(path: str | Path) -> Bundle:
    """Read and check a bundle, all but the weights' tensors.

    Raises:
        InputError: it is missing, no bundle, incomplete, corrupt, or written by a newer version.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(
            "no such bundle folder", where=str(folder), remedy="make one with nasdet export or nasdet train"
        )
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if len(missing) == len(NEEDED):
        raise InputError("is not a bundle", where=str(folder), remedy="a bundle holds " + ", ".join(NEEDED))
    if missing:
        raise InputError(f"the bundle lacks {', '.join(missing)}", where=str(folder), remedy="export it again")
    spec, recipe = _read_spec(folder / SPEC, DetectorSpec), _read_spec(folder / RECIPE, Recipe)
    classes = _json(folder / CLASSES)
    if not isinstance(classes, list) or not all(isinstance(c, str) for c in classes):
        raise _broken(folder / CLASSES, "is not a list of names")
    if len(classes) != spec.head.classes:
        raise _broken(folder / CLASSES, f"names {len(classes)} classes, the spec has {spec.head.classes}")
    metrics = _json(folder / METRICS) if (folder / METRICS).is_file() else {}
    _check_card(metrics, folder / METRICS)
    return Bundle(spec, recipe, tuple(classes), metrics, folder)


def _check_card(card: Any, path: Path) -> None:
    """Raise `InputError` unless what commands read of a card is of the type that they take it for."""
    if not isinstance(card, dict):
        raise _broken(path, "is not the card of a bundle")
    for key, kind in _CARD.items():
        if not isinstance(card.get(key), kind | None):
            raise _broken(path, f"has no {key} but {reprlib.repr(card[key])}")
    for name, value in (card.get("values") or {}).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _broken(path, f"has no number for {name} but {reprlib.repr(value)}")
    try:
        tiling_of(card)
    except ValueError:  # pydantic's too
        raise _broken(path, f"has no tile but {reprlib.repr(card[TILE])}") from None


def _save_weights(state_dict: Mapping[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    # clone: safetensors refuses tensors that share memory
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state_dict.items()}, path)
    path.chmod(0o644)  # safetensors makes it readable by its owner only


def _put_in_place(part: Path, out: Path) -> None:
    """Rename the folder, or file by file into one that is there; an ONNX file of other weights goes."""
    if not out.exists():
        part.replace(out)
        return
    for name in (ONNX, ONNX_NMS):
        (out / name).unlink(missing_ok=True)
    for file in part.iterdir():
        file.replace(out / file.name)


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise _broken(path, f"has more than {LARGEST_JSON >> 20} MB")
        return json.loads(path.read_text(encoding="utf-8"), parse_int=_integer)
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise _broken(path, f"is not JSON ({error})") from None


def _integer(text: str) -> int:
    """One that is a float, too. Raises OverflowError: it is beyond them."""
    value = int(text)
    float(value)
    return value


def _read_spec(path: Path, kind: type[S]) -> S:
    values = _json(path)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = key_of(first) or "the whole file"
        if first["type"] == "extra_forbidden":
            remedy = "it was written by a newer nasdet: upgrade, or remove the key"
            raise InputError(f"unknown key {key!r}", where=str(path), remedy=remedy) from None
        raise _broken(path, f"{key}: {first['msg']}") from None


def _check_shapes(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], path: Path) -> None:
    lacking = [n for n in wanted if n not in given]
    if lacking:
        raise _broken(path, f"lacks {len(lacking)} tensors of the spec's network, the first is {lacking[0]}")
    unknown = [n for n in given if n not in wanted]
    if unknown:
        raise _broken(path, f"holds {len(unknown)} tensors that the spec's network has not, the first is {unknown[0]}")
    for name, tensor in wanted.items():
        if tensor.shape != given[name].shape:
            shapes = f"{tuple(given[name].shape)}, the spec's network needs {tuple(tensor.shape)}"
            raise _broken(path, f"{name} has shape {shapes}")


def _broken(path: Path, what: str) -> InputError:
    return InputError(f"{path.name} {what}", where=str(path.parent), remedy="export or train it again")
