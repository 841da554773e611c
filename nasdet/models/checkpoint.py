"""Tensors of a checkpoint by name, from a file, a bundle, or timm's local cache.

Nothing is downloaded and nothing but tensors is unpickled. The keys under which tensors are nested (model, state_dict,
teacher, ...) stay in their names, and `pretrained` finds the prefix that fits.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import try_to_load_from_cache
from torch import Tensor

from nasdet.errors import InputError, nearest

TIMM = "timm:"
FOLDER_FILES = ("weights.safetensors", "model.safetensors", "pytorch_model.bin")
"""What holds the weights in a folder: a bundle's, and the Hugging Face hub's names."""
NO_WEIGHTS = ("optimizer", "optim", "scaler", "lr_scheduler", "ema_optimizer")
"""Keys of a checkpoint whose tensors are no weights."""


def locate(source: str) -> str:
    """`source` as it can be read from any working directory: an absolute path, or `timm:NAME` that is in the cache.

    Raises:
        InputError: there is no such file or name, or timm's weights are not on this machine.
    """
    if source.startswith(TIMM):
        _timm_file(source.removeprefix(TIMM))
        return source
    path = Path(source).expanduser().absolute()
    if path.is_dir():
        files = [path / name for name in FOLDER_FILES if (path / name).is_file()]
        if not files:
            remedy = "give a bundle, or a .safetensors, .pth or .pt file"
            raise InputError(f"holds none of {', '.join(FOLDER_FILES)}", where=str(path), remedy=remedy)
        return str(path)
    if not path.is_file():
        remedy = "--init takes random, a .safetensors, .pth or .pt file, a bundle, or timm:NAME"
        raise InputError("no such checkpoint", where=str(path), remedy=remedy)
    return str(path)


def read_tensors(source: str) -> dict[str, Tensor]:
    """Every tensor of `source` on the CPU, in the file's order; names of nested keys are joined by dots.

    Raises:
        InputError: it is missing, damaged, or holds no tensors.
    """
    located = locate(source)
    if located.startswith(TIMM):
        return _timm_tensors(located.removeprefix(TIMM))
    path = Path(located)
    if path.is_dir():
        path = next(path / name for name in FOLDER_FILES if (path / name).is_file())
    tensors = dict(_flat(_read(path)))
    if not tensors:
        raise InputError("holds no tensors", where=str(path))
    return tensors


def is_ordered(source: str) -> bool:
    """Whether the tensors come in the order of the network's definition; safetensors sorts them by name."""
    path = Path(source)
    return source.startswith(TIMM) or (path.is_file() and path.suffix != ".safetensors")


def _read(path: Path) -> Any:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # the options that many checkpoints keep
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        text = " ".join(str(error).split())
        reason = "it holds Python objects beside tensors" if "weights_only" in text.lower() else type(error).__name__
        remedy = "save its state_dict as .safetensors"
        raise InputError(f"cannot be read as weights ({reason})", where=str(path), remedy=remedy) from error


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield prefix, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in NO_WEIGHTS:
                yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))


def _timm_tensors(name: str) -> dict[str, Tensor]:
    """Weights in timm's own names: many files hold those of another project, which timm translates."""
    file = _timm_file(name)
    overlay = {"file": str(file), "custom_load": file.suffix == ".npz"}
    try:
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:
        raise InputError(f"timm cannot read {file} ({type(error).__name__})", where=TIMM + name) from error
    return dict(model.state_dict())


def _timm_file(name: str) -> Path:
    """Where timm's weights of that name are on this machine."""
    known = [*timm.list_models(), *timm.list_pretrained()]
    config = timm.get_pretrained_cfg(name) if name in known else None
    if config is None:
        raise InputError(f"timm has no model {name!r}", where="--init", remedy=nearest(name, known))
    candidates: list[Any] = []
    if config.hf_hub_id:
        names = [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
        candidates += [try_to_load_from_cache(config.hf_hub_id, file) for file in names]
    if config.url:
        candidates.append(str(Path(torch.hub.get_dir(), "checkpoints", config.url.rsplit("/", 1)[-1])))
    found = [Path(c) for c in candidates if isinstance(c, str) and Path(c).is_file()]
    if not found:
        remedy = "nothing is downloaded here: give a checkpoint file, --init FILE"
        raise InputError("timm's weights of that name are not on this machine", where=TIMM + name, remedy=remedy)
    return found[0]
