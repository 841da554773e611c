"""Weight standardisation: convolutions whose weights have mean 0 and variance 1 per output channel (Qiao et al. 2019).

One decision: the class of a built convolution is exchanged and its stored weight stays what it was, so that names and
shapes of a checkpoint are those of the plain network, and `bake_standardized` leaves plain convolutions behind.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nasdet.models.pointwise import StridedPointwise

EPS = 1e-6  # added to the variance, as in timm


class StandardizedConv2d(nn.Conv2d):
    """A convolution by the standardised weight."""

    def forward(self, input: Tensor) -> Tensor:
        """As of `nn.Conv2d`."""
        output: Tensor = self._conv_forward(input, standardized(self.weight), self.bias)
        return output


class StandardizedPointwise(StandardizedConv2d, StridedPointwise):
    """The same for a 1x1 convolution with a stride."""


_STANDARDIZED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: StandardizedConv2d,
    StridedPointwise: StandardizedPointwise,
}
_PLAIN = {standardized: plain for plain, standardized in _STANDARDIZED.items()}


def standardized(weight: Tensor) -> Tensor:
    """Weight (O, I, H, W) with mean 0 and variance 1 over (I, H, W)."""
    variance, mean = torch.var_mean(weight, dim=(1, 2, 3), correction=0, keepdim=True)
    return (weight - mean) * torch.rsqrt(variance + EPS)


def standardize_weights(model: nn.Module) -> None:
    """Let every convolution of `model` without a bias, which a norm follows, standardise its weight.

    One weight per output channel has no variance; such a convolution stays as it is.
    """
    for module in model.modules():
        known = type(module) in _STANDARDIZED and isinstance(module, nn.Conv2d)
        if known and module.bias is None and module.weight[0].numel() > 1:  # type: ignore[index,operator]
            module.__class__ = _STANDARDIZED[type(module)]  # type: ignore[assignment]


@torch.no_grad()
def bake_standardized(model: nn.Module) -> None:
    """Turn standardising convolutions into plain ones of the same result; not for training."""
    for module in model.modules():
        if type(module) in _PLAIN and isinstance(module, nn.Conv2d):
            module.weight.copy_(standardized(module.weight))
            module.__class__ = _PLAIN[type(module)]  # type: ignore[assignment]
