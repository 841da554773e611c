from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from nasdet.data import open_data
from nasdet.export import read_bundle
from nasdet.space import load_recipe
from nasdet.space.specs import Recipe
from nasdet.trainers.driver_link import Link
from nasdet.trainers.full_training import FullJob, FullTraining, History
from nasdet.trainers.messages import GroupConfig, Reply
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.training_state import Training, read_checkpoint
from nasdet.trainers.worker import Runner
from tests.trainers.conftest import tiny_recipe, tiny_spec

CPU = torch.device("cpu")


def job(out: Path, **changes: object) -> FullJob:
    values = {"recipe": tiny_recipe(epochs=3).to_json(), "time_limit": None, **changes}
    return FullJob(spec=tiny_spec().to_json(), seed=0, out=str(out), card={"data": "digits"}, **values)


def test_leaves_a_bundle_of_the_best_weights(group: GroupConfig, tmp_path: Path) -> None:
    replies: list[Reply] = []
    Runner(group, CPU, Link(replies.append)).run(job(tmp_path / "out"))
    assert [r.kind for r in replies] == ["epoch"] * 3 + ["rung"]
    bundle = read_bundle(tmp_path / "out")
    best = History.read(tmp_path / "out" / "training").best
    assert bundle.metrics["values"]["ap"] == best["ap"] == max(r.values.get("ap", 0) for r in replies)
    assert bundle.classes == tuple("0123456789")


@pytest.mark.parametrize("name", ["dsod", "vit_scratch", "torchvision_new"])
def test_trains_by_a_recipe_of_the_literature(group: GroupConfig, tmp_path: Path, name: str) -> None:
    changes = {"epochs": 1, "batch_size": 60, "augment": {**load_recipe(name).stated["augment"], "hflip": False}}
    recipe = Recipe.model_validate({**load_recipe(name).stated, **changes})
    replies: list[Reply] = []
    Runner(group, CPU, Link(replies.append)).run(job(tmp_path / "out", recipe=recipe.to_json()))
    assert [r.kind for r in replies] == ["epoch", "rung"], replies
    assert read_bundle(tmp_path / "out").recipe == recipe


def test_a_kill_at_any_moment_changes_nothing(
    group: GroupConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(group, CPU, Link(lambda reply: None))
    runner.run(job(tmp_path / "whole"))
    for place, epoch in (("_save", 1), ("_write_bundle", 3)):  # before and after the checkpoint is written
        whole_step = getattr(FullTraining, place)

        def kill(self: FullTraining, epoch: int = epoch, whole_step: Any = whole_step) -> None:
            if self.training.epoch == epoch:
                raise KeyboardInterrupt
            whole_step(self)

        with monkeypatch.context() as patch:
            patch.setattr(FullTraining, place, kill)
            with pytest.raises(KeyboardInterrupt):
                runner.run(job(tmp_path / "broken"))
    runner.run(job(tmp_path / "broken"))
    whole, broken = (History.read(tmp_path / n / "training") for n in ("whole", "broken"))
    assert [e["loss"] for e in whole.epochs] == [e["loss"] for e in broken.epochs]
    assert len(broken.epochs) == 3
    metrics = read_bundle(tmp_path / "broken").metrics
    assert metrics == read_bundle(tmp_path / "whole").metrics
    assert metrics["epochs"] == broken.best["epoch"]


def test_the_length_is_planned_before_it_is_stored(group: GroupConfig, tmp_path: Path) -> None:
    def stop(reply: Reply) -> None:
        raise KeyboardInterrupt

    limited = job(tmp_path / "out", recipe=tiny_recipe(epochs=10_000).to_json(), time_limit=2.0)
    with pytest.raises(KeyboardInterrupt):
        Runner(group, CPU, Link(stop)).run(limited)
    state = read_checkpoint(tmp_path / "out" / "training" / "last.pt")
    assert state["epoch"] == 1 and state["recipe"]["epochs"] < 100


@pytest.mark.parametrize(("limit", "expected"), [(100.0, 50), (200.0, 10_000), (None, 10_000)])
def test_a_plan_holds_for_its_own_time_limit(
    group: GroupConfig, tmp_path: Path, limit: float | None, expected: int
) -> None:
    limited = job(tmp_path / "out", recipe=tiny_recipe(epochs=10_000).to_json(), time_limit=limit)
    training = Training.start(tiny_spec(), tiny_recipe(epochs=50), seed=0, device=CPU)
    training.save(limited.folder / "last.pt", history={"seconds": 9.0}, time_limit=100.0)
    data = open_data("digits", cache_root=Path(group.cache_root))
    full = FullTraining(limited, data, Ranks(CPU), CPU, Link())
    assert full.training.recipe.epochs == expected
    assert full.history.seconds == 9.0


def test_a_time_limit_sets_the_length(group: GroupConfig, tmp_path: Path) -> None:
    replies: list[Reply] = []
    limited = job(tmp_path / "out", recipe=tiny_recipe(epochs=10_000, batch_size=6).to_json(), time_limit=4.0)
    Runner(group, CPU, Link(replies.append)).run(limited)
    history = History.read(tmp_path / "out" / "training")
    assert replies[-1].kind == "rung"
    assert 1 <= len(history.epochs) < 100
    assert history.epochs[-1]["lr"] < 0.2 * history.epochs[-2]["lr"] or len(history.epochs) < 8


@pytest.mark.parametrize(
    ("done", "planned", "pace", "late_pace", "expected"),
    [
        (20, 10_000, 1.0, 1.0, 100),  # steady
        (20, 100, 1.0, 2.0, 55),  # slower of late: 30 s are gone, 70 s are left for epochs of 2 s
        (90, 100, 1.0, 2.0, 90 + 1),  # out of time while the learning rate falls: one more
        (90, 100, 1.0, 0.5, 100),  # faster then: not longer
        (100, 100, 1.0, 1.0, 100),  # over
    ],
)
def test_the_plan_follows_the_pace(
    group: GroupConfig, tmp_path: Path, done: int, planned: int, pace: float, late_pace: float, expected: int
) -> None:
    data = open_data("digits", cache_root=Path(group.cache_root))
    limited = job(tmp_path / "out", recipe=tiny_recipe(epochs=planned).to_json(), time_limit=100.0)
    full = FullTraining(limited, data, Ranks(CPU), CPU, Link())
    full.training.epoch = done
    paces = [pace] * (done - 10) + [late_pace] * 10
    full.history.epochs = [{"seconds": s} for s in itertools.accumulate(paces)]
    full._plan()
    assert full.training.recipe.epochs == expected
