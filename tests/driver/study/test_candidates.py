from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch

from nasdet.data import DatasetInfo, open_data
from nasdet.driver.study.candidates import builder
from nasdet.errors import InputError
from nasdet.search import MemoryStore
from nasdet.search.engine.proposals import Proposals
from nasdet.space import Json, SearchSpace, load_space, parse_space


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


def searching(**values: list[object]) -> SearchSpace:
    """A space of these values at 16 images a step, under which every proposal trains at once."""
    return parse_space(
        {
            "space": {path.replace("__", "."): {"kind": "choice", "values": v} for path, v in values.items()},
            "fixed": {"recipe": {"batch_size": 16}},
            "objectives": [{"name": "ap"}],
            "scheduler": {"kind": "full"},
            "rules": {"off": ["small_bn_batch"]},
        }
    )


def states(space: SearchSpace, info: DatasetInfo, points: list[dict[str, Json]]) -> list[str]:
    """Of candidates that are proposed one after another for one worker."""
    proposals = Proposals(store := MemoryStore(space), builder(space, info, 1))
    for point in points:
        proposals.register(point)
    return [record.state for record in store.records()]


def test_synchronised_over_one_worker_is_batch_norm(info: DatasetInfo) -> None:
    space = searching(norm__kind=["bn", "syncbn", "gn"])
    points: list[dict[str, Json]] = [{"norm.kind": "bn"}, {"norm.kind": "syncbn"}, {"norm.kind": "gn"}]
    assert states(space, info, points) == ["running", "duplicate", "running"]
    over_two = builder(space, info, 2)
    assert [over_two(point).spec["norm"]["kind"] for point in points] == ["bn", "syncbn", "gn"]


def test_all_images_of_one_worker_need_not_be_named(info: DatasetInfo) -> None:
    space = searching(recipe__images_per_statistic=[0, 8, 16], norm__kind=["bn", "syncbn", "gn"])
    asked = [(0, "bn"), (16, "bn"), (8, "bn"), (8, "syncbn"), (8, "gn"), (0, "gn")]
    points: list[dict[str, Json]] = [{"recipe.images_per_statistic": n, "norm.kind": kind} for n, kind in asked]
    assert states(space, info, points) == ["running", "duplicate"] * 3


def test_detnet_tries_three_norms_on_several_workers(info: DatasetInfo) -> None:
    space = load_space("detnet")
    for workers, norms in ((2, {"bn", "gn", "syncbn"}), (1, {"bn", "gn"})):
        build = builder(space, info, workers)
        found = {build(dict(space.sample(Random(0), point))).spec["norm"]["kind"] for point in space.points}
        assert found == norms
