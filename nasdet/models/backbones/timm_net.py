"""Any network of timm that gives features, by name and without its weights.

The network is timm's own, built and initialised by timm; only its batch norms become the norm of the detector, with the
activation that they had. Strides and channels of its features are measured on the meta device, because what timm states
is wrong for some networks.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import timm
import torch
from timm.layers import BatchNormAct2d, DropPath, Format
from timm.models import FeatureListNet
from torch import Tensor, nn

from nasdet.errors import InputError
from nasdet.models.activation_checkpointing import run
from nasdet.models.layers import FeatureModule, Layers
from nasdet.models.norm import NoNormAct
from nasdet.space.timm_backbones import TimmSpec

PROBE = 128  # side of the image on which features are measured


class _Feature(NamedTuple):
    """One of the features of a network."""

    number: int
    channels: int
    stride: float


class TimmBackbone(FeatureModule):
    """Wanted levels of a network of timm; `channels` and `strides` have one entry for each."""

    def __init__(self, spec: TimmSpec, image_channels: int, wanted: Sequence[int], layers: Layers) -> None:
        """`wanted`: negative level numbers to put out, rising; timm leaves out what lies behind the last of them."""
        super().__init__()
        self.strides = tuple(spec.strides[w] for w in wanted)
        features = _features_at(spec, wanted)
        self.channels = tuple(feature.channels for feature in features)
        self.net = _create(spec, in_chans=image_channels, out_indices=tuple(feature.number for feature in features))
        _drop_unused(self.net)
        replace_batch_norms(self.net, layers, spec.name)
        for module in self.net.modules():
            if isinstance(module, DropPath):
                module.drop_prob = 0.0

    def init_weights(self) -> None:
        """Nothing: timm has drawn the weights while it built the network, as each family asks."""

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, C, H, W), normalised -> wanted levels, each (B, channels, H / stride, W / stride)."""
        return _run(self.net, images)


def replace_batch_norms(net: nn.Module, layers: Layers, name: str) -> None:
    """Put the norm of `layers` in place of every batch norm of `net`; the activation and the start of scale stay.

    Args:
        net: changed in place; other norms (LayerNorm, GroupNorm) belong to the architecture and stay.
        layers: says which norm.
        name: of the network, for messages.
    """
    for parent in list(net.modules()):
        for key, old in list(parent.named_children()):
            if isinstance(old, nn.BatchNorm2d):
                setattr(parent, key, _norm_like(old, layers, name))


def _norm_like(old: nn.BatchNorm2d, layers: Layers, name: str) -> nn.Module:
    new = layers.norm_act(old.num_features, apply_act=False)
    if isinstance(new, NoNormAct):
        raise InputError(
            f"network {name} has batch norms, norm.kind is none",
            where="backbone.name",
            remedy="choose another norm: its convolutions have no bias and do not train without",
        )
    if isinstance(old, BatchNormAct2d):
        new.act = old.act
    if isinstance(new, nn.BatchNorm2d):
        new.eps, new.momentum = old.eps, old.momentum
    with torch.no_grad():  # residual branches of many families start at scale 0
        new.weight.copy_(old.weight)  # type: ignore[operator,union-attr]
        new.bias.copy_(old.bias)  # type: ignore[operator,union-attr]
    return new


def _features_at(spec: TimmSpec, wanted: Sequence[int]) -> list[_Feature]:
    """The features at the wanted levels; of several at one stride the last, which saw most of the network."""
    features = list(_measured(spec))
    levels: list[_Feature | None] = []
    for stride in reversed(spec.strides):
        while features and features[-1].stride > stride:
            features.pop()
        levels.insert(0, features.pop() if features and features[-1].stride == stride else None)
    chosen = [levels[w] for w in wanted]
    if missing := [spec.strides[w] for w, feature in zip(wanted, chosen, strict=True) if feature is None]:
        known = sorted({round(feature.stride, 1) for feature in _measured(spec)})
        raise InputError(
            f"network {spec.name} has no level at stride {missing[0]}, only at {known}",
            where="backbone.name",
            remedy="choose another network or other neck.levels",
        )
    return [feature for feature in chosen if feature is not None]


@functools.lru_cache(maxsize=64)
def _measured(spec: TimmSpec) -> tuple[_Feature, ...]:
    """Every feature of the network with its stride, from a run in which nothing is drawn or allocated."""
    with torch.device("meta"), torch.no_grad():
        net = _create(spec).eval()
        try:
            features = _run(net, torch.empty(1, 3, PROBE, PROBE))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise _not_a_backbone(spec, error) from error
    numbers = net.feature_info.out_indices
    return tuple(_Feature(n, x.shape[1], PROBE / x.shape[-1]) for n, x in zip(numbers, features, strict=True))


def _run(net: Any, images: Tensor) -> list[Tensor]:
    """Features (B, C, H, W), also of a network that keeps its channels last."""
    features = _run_parts(net, images) if type(net) is FeatureListNet else net(images)
    is_last = getattr(net, "output_fmt", Format.NCHW) == Format.NHWC
    return [x.permute(0, 3, 1, 2) for x in features] if is_last else list(features)


def _run_parts(net: Any, x: Tensor) -> list[Tensor]:
    """What timm's list of parts does, each part run so that it can compute its activations again."""
    features: list[Tensor] = []
    for name, part in net.items():
        x = run(part, x) if next(part.parameters(), None) is not None else part(x)
        if name in net.return_layers:
            features.append(x[0] if isinstance(x, tuple | list) else x)
    return features


def _create(spec: TimmSpec, **options: Any) -> Any:
    if spec.output_stride != 32:
        options["output_stride"] = spec.output_stride
    if not timm.is_model(spec.name):
        close = difflib.get_close_matches(spec.name, timm.list_models(), n=1)
        remedy = f"did you mean {close[0]!r}?" if close else "timm.list_models() names all"
        raise InputError(f"timm has no network {spec.name!r}", where="backbone.name", remedy=remedy)
    build = functools.partial(timm.create_model, spec.name, pretrained=False, features_only=True, **options)
    try:
        return _with_drop_path(build)
    except (TypeError, ValueError, AssertionError, NotImplementedError, RuntimeError, AttributeError) as error:
        raise _not_a_backbone(spec, error) from error


def _not_a_backbone(spec: TimmSpec, error: Exception) -> InputError:
    dilated = f" at output_stride {spec.output_stride}" if spec.output_stride != 32 else ""
    reason = str(error).partition("\n")[0] or repr(error)
    return InputError(
        f"network {spec.name} cannot be a backbone for images of any size{dilated}: {reason}",
        where="backbone.name",
        remedy="choose another network" + (" or output_stride 32" if dilated else ""),
    )


def _with_drop_path(build: Any) -> Any:
    """The network with its stochastic depth, whose rate is set later, where the family knows it."""
    try:
        return build(drop_path_rate=0.1)
    except TypeError:
        return build()


def _drop_unused(net: Any) -> None:
    """Drop stages behind the last feature, which some families of timm build and run all the same."""
    stages = getattr(net, "blocks", None)
    last = net.feature_info.get_dicts()[-1].get("stage")
    if isinstance(stages, nn.Sequential) and last is not None:
        net.blocks = stages[:last]
