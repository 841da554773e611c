"""Tensors out of every kind of checkpoint, and one plain line for what is none."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from nasdet.errors import InputError
from nasdet.models.checkpoint import is_ordered, locate, read_tensors

NETWORK = "resnet10t.c3_in1k"
WEIGHTS = {"b.weight": torch.rand(2, 3), "a.weight": torch.rand(3)}


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth", "x.pt"])
def test_a_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    save_file(WEIGHTS, path) if path.suffix == ".safetensors" else torch.save(WEIGHTS, path)
    found = read_tensors(str(path))
    assert set(found) == set(WEIGHTS) and all(torch.equal(found[n], WEIGHTS[n]) for n in WEIGHTS)
    assert is_ordered(str(path)) == (path.suffix != ".safetensors")
    if is_ordered(str(path)):
        assert list(found) == list(WEIGHTS)


def test_nested_keys_stay_in_the_names_and_options_do_no_harm(tmp_path: Path) -> None:
    values = {"state_dict": WEIGHTS, "args": argparse.Namespace(lr=1), "epoch": 3, "optimizer": {"state": {0: WEIGHTS}}}
    torch.save(values, tmp_path / "x.pth")
    assert list(read_tensors(str(tmp_path / "x.pth"))) == ["state_dict.b.weight", "state_dict.a.weight"]


def test_a_folder_with_weights(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "weights.safetensors")
    assert set(read_tensors(str(tmp_path))) == set(WEIGHTS)


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(WEIGHTS, tmp_path / "x.safetensors")
    monkeypatch.chdir(tmp_path)
    assert locate("x.safetensors") == str(tmp_path / "x.safetensors")


class Surprise(nn.Module):
    """Not a tensor."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such checkpoint; --init takes random, a .safetensors"),
        (b"damaged", "cannot be read as weights"),
        ({"a": 1}, "holds no tensors"),
        (Surprise(), r"cannot be read as weights \(it holds Python objects beside tensors\)"),
    ],
)
def test_what_is_no_checkpoint(content: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=message) as error:
        read_tensors(str(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds none of weights.safetensors"):
        locate(str(tmp_path))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache of torch's hub."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    yield tmp_path / "checkpoints"
    torch.hub.set_dir(before)


def test_timm_without_network_and_cache_is_one_plain_line(cache: Path) -> None:
    with pytest.raises(InputError) as error:
        read_tensors(f"timm:{NETWORK}")
    wanted = f"timm:{NETWORK}: timm's weights of that name are not on this machine; nothing is downloaded here: give a"
    assert str(error.value).startswith(wanted) and "\n" not in str(error.value)


def test_timm_from_the_local_cache(cache: Path) -> None:
    torch.manual_seed(0)
    wanted = timm.create_model(NETWORK).state_dict()
    torch.save(wanted, cache / timm.get_pretrained_cfg(NETWORK).url.rsplit("/", 1)[-1])
    found = read_tensors(f"timm:{NETWORK}")
    assert list(found) == list(wanted) and all(torch.equal(found[n], wanted[n]) for n in wanted)
    assert is_ordered(f"timm:{NETWORK}")


@pytest.mark.parametrize(("name", "near"), [("resnet5O", "resnet50"), ("resnet10t.c3_in2k", "resnet10t.c3_in1k")])
def test_an_unknown_name_of_timm(name: str, near: str) -> None:
    with pytest.raises(InputError, match=f"timm has no model '{name}'; did you mean '{near}'"):
        locate(f"timm:{name}")
