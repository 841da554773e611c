"""1x1 convolutions with a stride, without the fault of oneDNN's kernel.

One decision: the input is sliced before a 1x1 convolution of stride 1, which is the same function. oneDNN's backward of
the strided kernel writes past its workspace where there are fewer than 16 input channels in channels-last
(uxlfoundation/oneDNN issue 6035; crashes here with torch 2.15, 2 threads, an odd batch), and searches do try those.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


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
