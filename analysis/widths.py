"""Widths that a detector's features would fit into, as a specification to train (Shinya et al. 2019 set widths by the
intrinsic dimension and kept the AP of a ResNet-50 from scratch with 27% fewer parameters).

One decision: a width is only ever reduced, to the largest dimension of 99% of the energy among the layers that share
it, rounded up to what groups and norms can divide. A layer that uses its whole width may want more, but the spectrum
does not say how much.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from nasdet.analysis.spectrum import ENERGIES, LayerSpectrum
from nasdet.models import build_detector
from nasdet.models.costs import count_params
from nasdet.space.specs import DetectorSpec

MULTIPLE = 8
"""Widths are multiples of it, as in the search: groups of a norm then have at least 4 channels each."""
FULL = 0.9
"""From this share of the width in use on, the layer may want more channels."""


@dataclasses.dataclass(frozen=True)
class Width:
    """One width of a specification."""

    field: str
    """Such as backbone.stages.0.width, backbone.widths.0, neck.width."""
    width: int
    dimension: int
    """Largest dimension of 99% of the energy among the layers of this width."""
    suggested: int

    @property
    def is_full(self) -> bool:
        """Whether nearly all of the width is used."""
        return self.dimension >= FULL * self.width


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """Narrower widths and what they save."""

    widths: tuple[Width, ...]
    spec: DetectorSpec
    """The detector with them; it has been built."""
    params: int
    """Trainable parameters now."""
    suggested_params: int
    """Trainable parameters with the widths suggested."""


def suggest_widths(spec: DetectorSpec, spectra: Sequence[LayerSpectrum]) -> Suggestion:
    """Widths by the spectra of a trained detector of `spec`.

    Kinds of backbones without a width per stage (dsod, pelee, timm, vit) keep theirs; necks with one width get one.
    """
    widths = tuple(_measured(spec, spectra))
    tree = spec.to_json()
    for width in widths:
        _set(tree, width.field.split("."), width.suggested)
    narrow = DetectorSpec.model_validate(tree)
    return Suggestion(widths, narrow, _params(spec), _params(narrow))


def _params(spec: DetectorSpec) -> int:
    """Trainable parameters of a detector, which is built for it without memory."""
    with torch.device("meta"):
        return count_params(build_detector(spec))


def _measured(spec: DetectorSpec, spectra: Sequence[LayerSpectrum]) -> Iterator[Width]:
    for field, width, prefix in _fields(spec):
        own = [s.dimension(ENERGIES[-1]) for s in spectra if s.width == width and f"{s.layer}.".startswith(prefix)]
        if own:
            multiple = _multiple(spec, field)
            suggested = max(1, math.ceil(max(own) / multiple)) * multiple
            yield Width(field, width, max(own), min(width, suggested))


def _fields(spec: DetectorSpec) -> Iterator[tuple[str, int, str]]:
    """Widths that can be set: field, value, and the prefix of the names of the layers that have this width."""
    if spec.backbone.kind == "staged":
        yield "backbone.stem_width", spec.backbone.stem_width, "backbone.stem."
        for number, stage in enumerate(spec.backbone.stages):
            yield f"backbone.stages.{number}.width", stage.width, f"backbone.stages.{number}."
    elif spec.backbone.kind == "vgg":
        for number, width in enumerate(spec.backbone.widths):
            yield f"backbone.widths.{number}", width, f"backbone.blocks.{number}."
    if hasattr(spec.neck, "width"):
        yield "neck.width", spec.neck.width, "neck."


def _multiple(spec: DetectorSpec, field: str) -> int:
    groups = getattr(spec.backbone, "groups", 1) if field.startswith("backbone.stages") else 1
    return math.lcm(MULTIPLE, groups)


def _set(tree: Any, tokens: Sequence[str], value: int) -> None:
    for token in tokens[:-1]:
        tree = tree[int(token) if isinstance(tree, list) else token]
    tree[int(tokens[-1]) if isinstance(tree, list) else tokens[-1]] = value
