"""Training-free scores: predictions of a network's accuracy before any training, from one pass of noise through it.

One decision: scores are computed on backbone and neck as a seed initialises them, on noise instead of images, so that a
score depends on the specification only and is the same on every machine and for every data set.

Whether a score says more than parameters or multiply-adds differs from space to space: `analysis.correlation` tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nasdet.models.detector import Detector, build_detector
from nasdet.space.specs import DetectorSpec, NormSpec

LAST_WEIGHT = 6.0
"""What the entropy of the backbone's last level counts; every other level counts once (C3, C4, C5 of the paper)."""
NOISE, IMAGES = 4, 16
"""Noise images behind an entropy, and behind a kernel."""
GATES = (nn.ReLU, nn.SiLU, nn.Hardswish, nn.GELU)
"""Activations whose input's sign is the state of a unit."""


def multi_scale_entropy(levels: Sequence[Tensor]) -> float:
    """Weighted sum of the entropies of feature maps taken as Gaussian: log(2 pi e variance) / 2 in nats.

    Args:
        levels: `(B, C, H, W)` each, from high to low resolution.
    """
    entropies = [0.5 * math.log(2 * math.pi * math.e * float(level.double().var())) for level in levels]
    return sum(entropies) + (LAST_WEIGHT - 1) * entropies[-1]


def log_kernel(codes: Sequence[Tensor]) -> float:
    """log |det K| with K[i, j] = number of units that are in the same state for images i and j.

    Args:
        codes: `(B, units)` of zeros and ones for each layer; -inf if two images cannot be told apart.
    """
    kernel = sum((c.double() @ c.double().T + (1 - c.double()) @ (1 - c.double()).T for c in codes), torch.zeros(()))
    return float(torch.linalg.slogdet(kernel).logabsdet)


@torch.no_grad()
def entropy(spec: DetectorSpec, seed: int = 0) -> float:
    """Multi-scale entropy of the backbone (MAE-DET; Sun et al. 2022, arXiv 2111.13336).

    Norms are left out, weights and noise are standard normal; a level's variance is then what the layers below multiply
    it to. Of the paper's network without shortcuts ours keeps them: a branch with such weights outweighs them.

    Raises:
        OverflowError, ValueError: the network is too deep for double precision, or its noise dies out.
    """
    bare = spec.model_copy(update={"norm": NormSpec(kind="none")})
    detector, noise = _start(bare, seed, NOISE)
    generator = torch.Generator().manual_seed(seed)
    for weight in detector.backbone.parameters():
        if weight.ndim > 1:
            weight.normal_(generator=generator)
    return multi_scale_entropy(detector.double().eval().backbone(noise.double()))


@torch.no_grad()
def naswot(spec: DetectorSpec, seed: int = 0) -> float:
    """How differently the units of backbone and neck respond to different images at initialisation (NASWOT; Mellor et
    al. 2021, arXiv 2006.04647); noise stands for the images, and units are the activations in front of which a sign is
    taken, smooth ones included.
    """
    detector, noise = _start(spec, seed, IMAGES)
    codes: list[Tensor] = []

    def note(gate: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        codes.append((inputs[0] > 0).reshape(IMAGES, -1).float())

    for module in detector.modules():
        if isinstance(module, GATES):
            module.register_forward_pre_hook(note)
    detector.train()
    detector.neck(detector.backbone(noise))
    return log_kernel(codes)


SCORES: dict[str, Callable[[DetectorSpec], float]] = {"entropy": entropy, "naswot": naswot}
"""Name in a space's `scores` -> function of a specification."""


def score(name: str, spec: DetectorSpec) -> float:
    """The score of that name; NaN where a network has none."""
    try:
        return SCORES[name](spec)
    except (OverflowError, ValueError):
        return math.nan


def _start(spec: DetectorSpec, seed: int, images: int) -> tuple[Detector, Tensor]:
    """The network as a seed starts it, and noise of its input's size; the caller's random numbers stay as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_detector(spec), torch.randn(images, spec.input.channels, spec.input.height, spec.input.width)
