from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nasdet.data import open_data
from nasdet.driver.study.candidates import builder
from nasdet.errors import InputError
from nasdet.space import parse_space


def build(workers: int = 1, **fixed: object) -> object:
    paths = {f"recipe.{name}": value for name, value in fixed.items()}
    data = {"space": {p: {"kind": "choice", "values": [v]} for p, v in paths.items()}, "objectives": [{"name": "ap"}]}
    return builder(parse_space(data), open_data("digits").info, workers)(paths)


def test_a_checkpoint_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({}, tmp_path / "x.pth")
    monkeypatch.chdir(tmp_path)
    assert build(init="x.pth").recipe["init"] == str(tmp_path / "x.pth")
    assert build(init="random").recipe["init"] == "random"
    with pytest.raises(InputError, match=r"y\.pth: no such checkpoint"):
        build(init="y.pth")


def test_a_batch_that_does_not_split_is_infeasible() -> None:
    assert build(workers=2, batch_size=9).infeasible == "batch size 9 does not split over 2 workers"
