"""How the weights of a detector are initialised.

A part with an initialisation of its own has a method `init_weights()`; every other convolution and linear layer is
drawn here, part by part in the order backbone, neck, head, so that a seed fixes the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

Draw = Callable[[nn.Module, Tensor], object]
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def _kaiming(layer: nn.Module, weight: Tensor) -> None:
    """He et al. 2015: normal, fan out for convolutions (what timm and torchvision do), fan in for linear layers."""
    is_linear = isinstance(layer, nn.Linear)
    nn.init.kaiming_normal_(weight, mode="fan_in" if is_linear else "fan_out", nonlinearity="relu")


def _xavier(layer: nn.Module, weight: Tensor) -> None:
    """Caffe's "xavier" (DSOD): uniform, variance 1 / fan in."""
    bound = math.sqrt(3 / weight[0].numel())
    nn.init.uniform_(weight, -bound, bound)


def _trunc_normal(layer: nn.Module, weight: Tensor) -> None:
    """Normal of deviation 0.02 without its tails beyond 2 deviations (transformers)."""
    nn.init.trunc_normal_(weight, std=0.02, a=-0.04, b=0.04)


DRAWS: dict[str, Draw] = {"kaiming": _kaiming, "xavier": _xavier, "trunc_normal": _trunc_normal}
"""Name in `Recipe.weight_init` -> function (layer, its weight) that draws in place."""


def initialise(detector: nn.Module, kind: str = "auto") -> None:
    """Draw the weights of `detector.backbone`, `.neck` and `.head`; biases become 0, norms are left as they are.

    Args:
        detector: of `build_detector`; the meta device works.
        kind: a name of `DRAWS`; auto: a part's own `init_weights()`, else kaiming. The head's `init_weights()` sets
            its predicting layers after the others were drawn, whatever the kind.
    """
    for name in ("backbone", "neck", "head"):
        part = detector.get_submodule(name)
        own = getattr(part, "init_weights", None)
        if own is None or name == "head" or kind != "auto":
            _draw(part, DRAWS["kaiming" if kind == "auto" else kind])
        if own is not None and (name == "head" or kind == "auto"):
            own()


def _draw(part: nn.Module, draw: Draw) -> None:
    for layer in part.modules():
        if isinstance(layer, LAYERS):
            draw(layer, layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
