"""Convolutions of a built network that become others: strided 1x1 ones that avoid a fault of oneDNN, and those with
standardised weights (mean 0 and variance 1 per output channel; Qiao et al. 2019).

One decision: the class of a built convolution is exchanged and its stored weight stays what it was, so that names and
shapes of a checkpoint are those of the plain network, and `bake_standardized` leaves plain convolutions behind.

oneDNN's backward of the strided 1x1 kernel writes past its workspace where there are fewer than 16 input channels in
channels-last (uxlfoundation/oneDNN issue 6035; crashes with torch 2.15, 2 threads and an odd batch), and searches do
try those. Slicing the input before a 1x1 convolution of stride 1 is the same function.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-6  # added to the variance, as in timm


class StridedPointwise(nn.Conv2d):
    """A 1x1 `nn.Conv2d` whose stride is a slice; same parameters, same result."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """`(B, C, H, W)` -> `(B, O, ceil(H / s), ceil(W / s))`."""
        rows, columns = (int(s) for s in self.stride)
        return F.conv2d(input[:, :, ::rows, ::columns], weight, bias, groups=self.groups)


def avoid_strided_pointwise(model: nn.Module) -> None:
    """Turn every strided, unpadded 1x1 convolution of `model` into a `StridedPointwise`."""
    for module in model.modules():
        if type(module) is nn.Conv2d and module.kernel_size == (1, 1) and max(module.stride) > 1:
            assert module.padding == (0, 0), "a padded 1x1 convolution"
            module.__class__ = StridedPointwise


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
