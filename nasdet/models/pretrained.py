"""Loading the weights of a checkpoint into a detector, with a list of which tensor went where.

One decision: one rule for every checkpoint. One prefix is removed from the names in the file and another is added: the
two under which most tensors agree with the detector in name and shape (`.` and `_` count as equal). If no name agrees
and the file keeps the order of definition, tensors are assigned in order as long as their shapes agree, if that is at
least half of the backbone.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from timm.layers import resample_abs_pos_embed
from timm.models import adapt_input_conv
from torch import Tensor, nn

from nasdet.errors import InputError
from nasdet.models.checkpoint import is_ordered, read_tensors

RANDOM = "random"
LOADED = "loaded_from"
"""Attribute of a detector, or of a part of it, that holds loaded weights: where they are from."""
PREFERRED = {"teacher", "ema", "average"}
"""Averaged weights of a checkpoint that holds both are taken before the trained ones."""
COUNTER = "num_batches_tracked"
DEPTH = 4  # parts of the longest prefix
COMMON = 0.1  # share of the names that a prefix must have


@dataclasses.dataclass(frozen=True)
class LoadedTensor:
    """A tensor that was loaded."""

    file: str
    detector: str
    shape: tuple[int, ...]
    """In the file."""
    change: str = ""
    """How it was fitted, where the detector's shape is another: its input channels or positions."""


@dataclasses.dataclass(frozen=True)
class UnmatchedTensor:
    """A tensor of the file or of the detector that has no counterpart."""

    name: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class InitReport:
    """Which tensors of a checkpoint were loaded and which were not; counters of batch normalisation are left out."""

    source: str
    rule: Literal["names", "order"]
    matched: tuple[LoadedTensor, ...]
    unmatched_file: tuple[UnmatchedTensor, ...]
    unmatched_detector: tuple[UnmatchedTensor, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return dataclasses.asdict(self)

    @property
    def summary(self) -> str:
        """One line: how much of the backbone and of the rest was loaded."""
        loaded = Counter(m.detector.startswith("backbone.") for m in self.matched)
        missing = Counter(n.name.startswith("backbone.") for n in self.unmatched_detector)
        backbone = f"{loaded[True]} of {loaded[True] + missing[True]} tensors of the backbone"
        return backbone + (f" and {loaded[False]} of neck and head" if loaded[False] else "")


def load_weights(detector: nn.Module, source: str) -> InitReport:
    """Load the tensors of `source` that fit into `detector`, and record on it where they are from.

    Input convolutions of another number of channels are repeated and scaled (summed for one channel), position
    embeddings of another length are resampled.

    Args:
        detector: of `build_detector`, on any device; changed in place.
        source: a file, a bundle, or timm:NAME, as `checkpoint.locate` takes it.

    Raises:
        InputError: it cannot be read, or nothing in it fits.
    """
    tensors = {n: t for n, t in read_tensors(source).items() if not n.endswith(COUNTER)}
    targets = {n: t for n, t in detector.state_dict().items() if not n.endswith(COUNTER)}
    fitting = _Fitting(detector, targets)
    pairs, rule = _by_names(tensors, fitting), "names"
    if not pairs and is_ordered(source):
        pairs, rule = _by_order(tensors, fitting), "order"
    if not pairs:
        remedy = "give a checkpoint of the same architecture, or --init random"
        raise InputError(f"none of its {len(tensors)} tensors fits the detector", where=source, remedy=remedy)
    with torch.no_grad():
        for file, name in pairs.items():
            targets[name].copy_(fitting.fitted(tensors[file], name))
    setattr(detector, LOADED, source)
    return InitReport(
        source,
        "names" if rule == "names" else "order",
        tuple(LoadedTensor(f, n, tuple(tensors[f].shape), fitting.change(tensors[f], n)) for f, n in pairs.items()),
        tuple(UnmatchedTensor(n, tuple(t.shape)) for n, t in tensors.items() if n not in pairs),
        tuple(UnmatchedTensor(n, tuple(t.shape)) for n, t in targets.items() if n not in set(pairs.values())),
    )


def loaded_from(detector: nn.Module) -> str:
    """Where the weights of `detector`, or of a part of it, were loaded from; empty if from nowhere."""
    return next((str(getattr(m, LOADED)) for m in detector.modules() if getattr(m, LOADED, "")), "")


class _Fitting:
    """Which tensors can become which of a detector's, by shape."""

    def __init__(self, detector: nn.Module, targets: Mapping[str, Tensor]) -> None:
        self.detector, self.targets = detector, targets
        self.backbone = [name for name in targets if name.startswith("backbone.")]
        self.stem = next((name for name in self.backbone if targets[name].ndim == 4), "")

    def fits(self, tensor: Tensor, name: str) -> bool:
        return tensor.shape == self.targets[name].shape or bool(self.change(tensor, name))

    def change(self, tensor: Tensor, name: str) -> str:
        """What must be done to `tensor`; empty if nothing, or nothing helps."""
        old, new = tensor.shape, self.targets[name].shape
        if old == new or len(old) != len(new):
            return ""
        if name == self.stem and (old[0], *old[2:]) == (new[0], *new[2:]):
            return f"{old[1]} input channels to {new[1]}"
        if name.endswith("pos_embed") and len(old) == 3 and old[2] == new[2] and self._grid(tensor, name) is not None:
            return f"{old[1]} positions to {new[1]}"
        return ""

    def fitted(self, tensor: Tensor, name: str) -> Tensor:
        """`tensor` in the shape of the detector's."""
        shape = self.targets[name].shape
        if tensor.shape == shape:
            return tensor
        if name == self.stem:
            adapted: Tensor = adapt_input_conv(shape[1], tensor, base_chans=tensor.shape[1])
            return adapted
        grid = self._grid(tensor, name)
        assert grid is not None, name
        *size, prefix = grid
        before = _square(tensor.shape[1])[1]
        kept = torch.cat([tensor[:, :prefix], tensor[:, before:]], dim=1)
        resampled: Tensor = resample_abs_pos_embed(kept.float(), size, num_prefix_tokens=prefix)
        return resampled

    def _grid(self, tensor: Tensor, name: str) -> tuple[int, int, int] | None:
        """Rows and columns of a position embedding, and tokens before them (class token, registers); None if the
        file has fewer of those."""
        owner = self.detector.get_submodule(name.rpartition(".")[0])
        stated = getattr(owner, "grid_size", None) or getattr(getattr(owner, "patch_embed", None), "grid_size", None)
        length = self.targets[name].shape[1]
        side, _ = _square(length)
        rows, columns = (int(v) for v in stated) if stated else (side, side)
        prefix = length - rows * columns
        return (rows, columns, prefix) if 0 <= prefix <= _square(tensor.shape[1])[1] else None


def _square(length: int) -> tuple[int, int]:
    """Side of the largest square of positions, and tokens left over before it."""
    side = math.isqrt(length)
    return side, length - side * side


def _by_names(tensors: Mapping[str, Tensor], fitting: _Fitting) -> dict[str, str]:
    """Names in the file -> names in the detector, under the best pair of prefixes."""
    known = {_plain(name): name for name in fitting.targets}
    best: dict[str, str] = {}
    for off in sorted(_prefixes(tensors), key=lambda prefix: not PREFERRED & set(_plain(prefix).split("."))):
        inside = [name for name in tensors if name.startswith(off)]
        for on in _prefixes(fitting.backbone):
            if len(inside) <= len(best):
                break
            pairs = {name: known.get(_plain(on + name.removeprefix(off)), "") for name in inside}
            pairs = {f: n for f, n in pairs.items() if n and fitting.fits(tensors[f], n)}
            if len(pairs) > len(best):
                best = pairs
    return best


def _by_order(tensors: Mapping[str, Tensor], fitting: _Fitting) -> dict[str, str]:
    """Names in the file -> names in the backbone, one after another until a shape differs."""
    pairs: dict[str, str] = {}
    for file, name in zip(tensors, fitting.backbone, strict=False):
        if not fitting.fits(tensors[file], name):
            break
        pairs[file] = name
    return pairs if 2 * len(pairs) >= len(fitting.backbone) else {}


def _plain(name: str) -> str:
    """timm's feature networks write stages_0 for stages.0."""
    return name.replace("_", ".")


def _prefixes(names: Iterable[str]) -> list[str]:
    """The empty one and every prefix (with its dot) that a share of the names has, short ones and early ones first."""
    names = list(names)
    counts = Counter(
        ".".join(parts[:depth]) + "."
        for parts in (name.split(".") for name in names)
        for depth in range(1, min(DEPTH, len(parts) - 1) + 1)
    )
    common = [prefix for prefix, count in counts.items() if count >= COMMON * len(names)]
    return ["", *sorted(common, key=lambda prefix: prefix.count("."))]
