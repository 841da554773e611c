"""Normalisation of the whole detector by one factory.

One decision: a norm carries its activation (timm's "norm-act" layer), because timm's blocks ask for such a layer, and
because only the factory then knows which norm and which activation a specification names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timm.layers import BatchNormAct2d, LayerNormAct2d
from torch import Tensor, nn

from nasdet.models.group_norm import FastGroupNormAct
from nasdet.models.sync_bn import SyncBatchNormAct2d
from nasdet.space.specs import NormSpec

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "hardswish": nn.Hardswish}
MIN_GROUP_CHANNELS = 4  # a group of one channel on a 1x1 map would have no variance and pass no gradient

NormAct = Callable[..., nn.Module]


class NoNormAct(nn.Module):
    """The activation alone; the convolution before it has a bias."""

    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)`."""
        activated: Tensor = self.act(x)
        return activated


def group_count(channels: int, groups: int) -> int:
    """Largest divisor of `channels` that is at most `groups` and leaves 4 channels a group (1 group if none does)."""
    most = max(1, min(groups, channels // MIN_GROUP_CHANNELS))
    return next(g for g in range(most, 0, -1) if channels % g == 0)


def activation(name: str) -> nn.Module:
    """The activation of that name; relu works in place (its gradient needs the output only)."""
    return nn.ReLU(inplace=True) if name == "relu" else ACTIVATIONS[name]()


def make_norm_act(norm: NormSpec, act: str) -> NormAct:
    """A function `(channels, apply_act=True) -> module` that timm's `ConvNormAct` takes as `norm_layer`.

    Further keyword arguments that timm passes (device, dtype, act_kwargs, drop_layer) are for other layers and unused.
    """

    def norm_act(channels: int, apply_act: bool = True, **_: Any) -> nn.Module:
        layer = _build(norm, channels)
        layer.act = activation(act) if apply_act else nn.Identity()
        return layer

    return norm_act


def _build(norm: NormSpec, channels: int) -> nn.Module:
    layer: nn.Module
    if norm.kind == "gn":
        layer = FastGroupNormAct(channels, num_groups=group_count(channels, norm.groups), apply_act=False)
    elif norm.kind == "syncbn":
        layer = SyncBatchNormAct2d(channels, apply_act=False)
    elif norm.kind == "ln":
        layer = LayerNormAct2d(channels, apply_act=False)
    elif norm.kind == "none":
        layer = NoNormAct()
    else:
        layer = BatchNormAct2d(channels, apply_act=False)
    return layer
