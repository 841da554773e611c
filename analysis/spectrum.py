"""How much of its width each layer uses: the eigenspectrum of its features (Shinya et al. 2019, "Understanding the
Effects of Pre-Training for Object Detectors via Eigenspectrum").

One decision: features are centred, unlike in the paper, because a constant feature is a bias of the next layer and not
a direction that the layer needs; the paper's uncentred dimensions stand beside them.

Each layer keeps a running mean and scatter matrix in float64, so memory does not grow with the number of images.
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
"""Positions that are converted to float64 at a time."""
CONTAINERS = ("blocks", "layers", "stages")
"""Names under which parts of backbones hold their own parts in a row."""


class Moments:
    """Running mean and scatter matrix of rows of C channels, in float64.

    The scatter is the sum of (row - mean)(row - mean)^T. A piece of rows is added by Chan et al. (1983): with n rows
    so far, k new ones and d the difference of the two means, the scatters add up, plus d d^T n k / (n + k). Subtracting
    means before multiplying keeps the digits that a sum of squares would lose where the mean is large.
    """

    def __init__(self, channels: int, device: torch.device) -> None:
        self.count = 0
        self.mean = torch.zeros(channels, dtype=torch.float64, device=device)
        self.scatter = torch.zeros(channels, channels, dtype=torch.float64, device=device)

    def add(self, rows: Tensor) -> None:
        """Add `(n, C)` rows of any floating type."""
        for piece in rows.split(PIECE):
            mean = piece.mean(0, dtype=torch.float64)
            centred = piece.double() - mean
            difference, total = mean - self.mean, self.count + len(centred)
            self.scatter.addmm_(centred.T, centred)  # of the piece around its own mean
            self.scatter.addr_(difference, difference, alpha=self.count * len(centred) / total)
            self.mean += difference * (len(centred) / total)
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
    """Images times positions of the feature map."""
    eigenvalues: NDArray[np.float64]
    """`(C,)` of the covariance, in descending order."""
    uncentred: NDArray[np.float64]
    """`(C,)` of the second moment, in descending order."""

    @property
    def width(self) -> int:
        """Channels."""
        return len(self.eigenvalues)

    def dimension(self, energy: float, *, centred: bool = True) -> int:
        """Number of leading eigenvalues that hold the share `energy` of their sum; 0 if all are 0."""
        return intrinsic_dimension(self.eigenvalues if centred else self.uncentred, energy)

    @property
    def share(self) -> float:
        """Share of the width that holds 99% of the energy."""
        return self.dimension(ENERGIES[-1]) / self.width


def intrinsic_dimension(eigenvalues: NDArray[np.float64], energy: float) -> int:
    """The smallest number of leading `eigenvalues` whose sum is at least the share `energy` of the sum of all.

    Shinya et al. (2019) call it the intrinsic dimension: features that lie in a subspace of k of the C channels have
    k eigenvalues above 0.

    Args:
        eigenvalues: `(C,)` in descending order, none below 0.
        energy: 0..1.
    """
    sums = np.cumsum(eigenvalues)
    # A little less than the share counts as the share, or rounding errors of the sum would add a dimension.
    return 0 if sums[-1] <= 0 else int(np.searchsorted(sums, energy * sums[-1] * (1 - 1e-12)) + 1)


@torch.inference_mode()
def measure_spectrum(detector: Detector, batches: Iterable[Tensor]) -> list[LayerSpectrum]:
    """Spectra of the layers of `watched_layers` and of the neck's levels, in the order in which they are computed.

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
    """Stem, stages and blocks of the backbone by their names. The last block of a stage is left out, because its output
    is that of the stage."""
    return _parts("backbone", detector.backbone)


def _parts(path: str, module: nn.Module, *, last: bool = True) -> Iterator[tuple[str, nn.Module]]:
    """The parts of `module` and the parts of these; without the `last` part where its output is that of `module`."""
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
    """Whether features are `(B, ..., C)`: tokens of a transformer, or of timm's networks that say so."""
    net = getattr(detector.backbone, "net", None)
    of_tokens = getattr(net, "output_fmt", Format.NCHW) == Format.NHWC and name.startswith("backbone.net")
    return features.ndim == 3 or of_tokens or name.startswith("backbone.trunk")


def _spectrum(name: str, moments: Moments) -> LayerSpectrum:
    matrices = (moments.covariance(), moments.second_moment())
    # eigvalsh returns ascending values; those of a singular matrix may lie a rounding error below 0.
    descending = [np.linalg.eigvalsh(matrix)[::-1].clip(min=0.0) for matrix in matrices]
    return LayerSpectrum(name, moments.count, *descending)
