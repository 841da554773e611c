"""The convolutions that every part of a detector is made of.

One frozen value carries norm and activation of the specification, so that backbone, neck and head are built from equal
convolutions without knowing either.
"""

from __future__ import annotations

import dataclasses
import functools

import torch
from timm.layers import ConvNormAct
from timm.models.byobnet import LayerFn
from torch import nn

from nasdet.models.norm import NoNormAct, NormAct, activation, make_norm_act
from nasdet.space.specs import DetectorSpec, NormSpec


@dataclasses.dataclass(frozen=True)
class Layers:
    """How a convolution is normalised and activated throughout one detector."""

    norm_act: NormAct
    act: str
    bias: bool = False
    """Whether a convolution of the body has a bias: where no norm follows it."""

    @classmethod
    def of(cls, spec: DetectorSpec) -> Layers:
        """The layers that `spec` names."""
        return cls(make_norm_act(spec.norm, spec.activation), spec.activation, bias=spec.norm.kind == "none")

    def conv(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        groups: int = 1,
        dilation: int = 1,
        padding: int | None = None,
        apply_act: bool = True,
    ) -> nn.Module:
        """Convolution (a bias only without a norm, by default padded to keep size / stride), norm, activation."""
        conv: nn.Module = ConvNormAct(
            inputs,
            outputs,
            kernel,
            stride,
            "" if padding is None else padding,
            dilation,
            groups,
            bias=self.bias,
            norm_layer=self.norm_act,
            apply_act=apply_act,
        )
        return conv

    def without_norm(self) -> Layers:
        """Convolutions with a bias and no norm, whatever the rest of the detector has."""
        return Layers(make_norm_act(NormSpec(kind="none"), self.act), self.act, bias=True)

    def timm(self) -> LayerFn:
        """The same as the layer functions of timm's configurable nets."""
        return LayerFn(
            conv_norm_act=functools.partial(ConvNormAct, norm_layer=self.norm_act, bias=self.bias),
            norm_act=self.norm_act,
            act=functools.partial(_timm_activation, self.act),
        )


def add_missing_biases(model: nn.Module) -> None:
    """Give the convolutions that no norm follows a bias of 0, where timm's blocks could not be asked for one."""
    for module in model.modules():
        if isinstance(module, ConvNormAct) and isinstance(module.bn, NoNormAct) and module.conv.bias is None:
            weight = module.conv.weight
            module.conv.bias = nn.Parameter(torch.zeros(len(weight), device=weight.device, dtype=weight.dtype))


def _timm_activation(name: str, inplace: bool = True) -> nn.Module:
    """timm's blocks pass `inplace`, which `activation` decides by itself."""
    return activation(name)


class FeatureModule(nn.Module):
    """A part that publishes `channels` and `strides` of the levels it gives, from high to low resolution."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
