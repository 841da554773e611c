from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from nasdet.data import open_data
from nasdet.export import read_bundle
from nasdet.trainers.full import FullJob, FullTraining, History
from nasdet.trainers.job import GroupConfig, Reply
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.runner import Runner
from tests.trainers.conftest import tiny_recipe, tiny_spec

CPU = torch.device("cpu")


def job(out: Path, **changes: object) -> FullJob:
    values = {"recipe": tiny_recipe(epochs=3).to_json(), "time_limit": None, **changes}
    return FullJob(spec=tiny_spec().to_json(), seed=0, out=str(out), card={"data": "digits"}, **values)


def test_leaves_a_bundle_of_the_best_weights(group: GroupConfig, tmp_path: Path) -> None:
    replies: list[Reply] = []
    Runner(group, CPU, replies.append).run(job(tmp_path / "out"))
    assert [r.kind for r in replies] == ["epoch"] * 3 + ["rung"]
    bundle = read_bundle(tmp_path / "out")
    best = History.read(tmp_path / "out" / "training").best
    assert bundle.metrics["values"]["ap"] == best["ap"] == max(r.values.get("ap", 0) for r in replies)
    assert bundle.classes == tuple("0123456789")


def test_resume_equals_the_unbroken_training(group: GroupConfig, tmp_path: Path, monkeypatch) -> None:
    runner = Runner(group, CPU, lambda reply: None)
    runner.run(job(tmp_path / "whole"))

    def stop_after_one(self: FullTraining) -> None:
        if self.training.epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FullTraining, "_plan", stop_after_one)
        with pytest.raises(KeyboardInterrupt):
            runner.run(job(tmp_path / "broken"))
    runner.run(job(tmp_path / "broken"))
    whole, broken = (History.read(tmp_path / n / "training").epochs for n in ("whole", "broken"))
    assert [e["loss"] for e in whole] == [e["loss"] for e in broken]
    assert len(broken) == 3


def test_a_time_limit_sets_the_length(group: GroupConfig, tmp_path: Path) -> None:
    replies: list[Reply] = []
    limited = job(tmp_path / "out", recipe=tiny_recipe(epochs=10_000).to_json(), time_limit=6.0)
    Runner(group, CPU, replies.append).run(limited)
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
    full = FullTraining(limited, data, Ranks(CPU), CPU, lambda reply: None)
    full.training.epoch = done
    paces = [pace] * (done - 10) + [late_pace] * 10
    full.history.epochs = [{"seconds": s} for s in itertools.accumulate(paces)]
    full._plan()
    assert full.training.recipe.epochs == expected
