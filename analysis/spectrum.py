"""How much of its width each layer uses: the eigenspectrum of its features (Shinya et al. 2019, "Understanding the
Effects of Pre-Training for Object Detectors via Eigenspectrum").

One decision: features are centred, unlike in the paper, because a constant feature is a bias of the next layer and not
a direction it needs; the paper's uncentred dimensions stand beside them. Mean and second moment run along in float64,
so that memory is one square matrix per layer however many images there are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers import Format
from torch import Tensor, nn

from nasdet.models import Detector

ENERGIES = (0.90, 0.99)
PIECE = 16384
"""Positions that are held in float64 at a time."""
CONTAINERS = ("blocks", "layers", "stages")
"""Names under which parts of backbones hold their own parts in a row."""


class Moments:
    """Running mean and scatter of rows of C channels (Chan et al. 1983), float64."""

    def __init__(self, channels: int, device: torch.device) -> None:
        self.count = 0
        self.mean = torch.zeros(channels, dtype=torch.float64, device=device)
        self.scatter = torch.zeros(channels, channels, dtype=torch.float64, device=device)

    def add(self, rows: Tensor) -> None:
        """Take in `(n, C)` rows of any floating type."""
        for piece in rows.split(PIECE):
            mean = piece.mean(0, dtype=torch.float64)
            own = piece.double() - mean
            apart, total = mean - self.mean, self.count + len(own)
            self.scatter.addmm_(own.T, own)
            self.scatter.addr_(apart, apart, alpha=self.count * len(own) / total)
            self.mean += apart * (len(own) / total)
            self.count = total

    def covariance(self) -> NDArray[np.float64]:
        """`(C, C)`, divided by the number of rows."""
        return (self.scatter / self.count).cpu().numpy()

    def second_moment(self) -> NDArray[np.float64]:
        """`(C, C)`: the covariance with the mean left in."""
        return (self.scatter / self.count + torch.outer(self.mean, self.mean)).cpu().numpy()


@dataclasses.dataclass(frozen=True)
class LayerSpectrum:
    """The spectrum of one layer's output."""

    layer: str
    """Its place in the network, such as backbone.stages.1.0 or neck.0."""
    positions: int
    """Images times cells that were looked at."""
    eigenvalues: NDArray[np.float64]
    """`(C,)` of the covariance, falling."""
    uncentred: NDArray[np.float64]
    """`(C,)` of the second moment, falling."""

    @property
    def width(self) -> int:
        """Channels."""
        return len(self.eigenvalues)

    def dimension(self, energy: float, *, centred: bool = True) -> int:
        """Eigenvalues that hold the share `energy` of their sum; 0 if all are 0."""
        return intrinsic_dimension(self.eigenvalues if centred else self.uncentred, energy)

    @property
    def share(self) -> float:
        """Share of the width that holds 99% of the energy."""
        return self.dimension(ENERGIES[-1]) / self.width


def intrinsic_dimension(eigenvalues: NDArray[np.float64], energy: float) -> int:
    """The smallest number of leading `eigenvalues` (falling) whose sum is at least `energy` of the whole."""
    sums = np.cumsum(eigenvalues)
    return 0 if sums[-1] <= 0 else int(np.searchsorted(sums, energy * sums[-1] * (1 - 1e-12)) + 1)


@torch.inference_mode()
def measure_spectrum(detector: Detector, batches: Iterable[Tensor]) -> list[LayerSpectrum]:
    """Spectra of the layers of `watched_layers` and of the neck's levels, in the order in which they are ready.

    Args:
        detector: in evaluation mode.
        batches: images (B, C, H, W) in stored units, each once.
    """
    device = next(detector.parameters()).device
    moments: dict[str, Moments] = {}

    def see(name: str, features: object) -> None:
        if isinstance(features, Tensor) and features.ndim in (3, 4):
            rows = features if _is_channels_last(detector, name, features) else features.movedim(1, -1)
            own = moments.setdefault(name, Moments(rows.shape[-1], features.device))
            own.add(rows.reshape(-1, rows.shape[-1]))

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        return lambda layer, inputs, features: see(name, features)

    handles = [layer.register_forward_hook(hook(name)) for name, layer in watched_layers(detector)]
    try:
        for images in batches:
            for number, level in enumerate(detector.features(images.to(device))):
                see(f"neck.{number}", level)
    finally:
        for handle in handles:
            handle.remove()
    return [_spectrum(name, own) for name, own in moments.items()]


def watched_layers(detector: Detector) -> Iterator[tuple[str, nn.Module]]:
    """Stem, stages and blocks of the backbone by their names; of blocks in a row the last one is the stage itself."""
    return _parts("backbone", detector.backbone)


def _parts(path: str, module: nn.Module, *, last: bool = True) -> Iterator[tuple[str, nn.Module]]:
    """The parts of `module`, the `last` one of them or not, and theirs."""
    children = list(module.named_children())
    for number, (name, child) in enumerate(children, start=1):
        own = f"{path}.{name}"
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _parts(own, child)
            continue
        if next(child.parameters(), None) is not None and (last or number < len(children)):
            yield own, child
        if isinstance(child, nn.Sequential):
            yield from _parts(own, child, last=False)
        for inner in CONTAINERS:
            part = getattr(child, inner, None)
            if isinstance(part, nn.Sequential | nn.ModuleList):
                yield from _parts(f"{own}.{inner}", part)


def _is_channels_last(detector: Detector, name: str, features: Tensor) -> bool:
    """Whether features are tokens `(B, ..., C)`: of a transformer's trunk, or of timm's networks that say so."""
    net = getattr(detector.backbone, "net", None)
    of_tokens = getattr(net, "output_fmt", Format.NCHW) == Format.NHWC and name.startswith("backbone.net")
    return features.ndim == 3 or of_tokens or name.startswith("backbone.trunk")


def _spectrum(name: str, moments: Moments) -> LayerSpectrum:
    falling = [
        np.linalg.eigvalsh(matrix)[::-1].clip(min=0.0) for matrix in (moments.covariance(), moments.second_moment())
    ]
    return LayerSpectrum(name, moments.count, *falling)
