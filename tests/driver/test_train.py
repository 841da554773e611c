from __future__ import annotations

from pathlib import Path

import pytest

from nasdet.data import open_data
from nasdet.driver.train import Source, train_detector
from nasdet.errors import InputError
from nasdet.export import read_bundle
from nasdet.trainers.full import History
from nasdet.trainers.job import Reply
from tests.trainers.conftest import tiny_recipe, tiny_spec

OPTIONS = {"time_limit": None, "seed": 0, "address": None}


@pytest.mark.ray
@pytest.mark.timeout(240)
def test_two_workers_train_one_detector(tmp_path: Path) -> None:
    replies: list[Reply] = []
    source = Source(tiny_spec(kind="syncbn"), tiny_recipe(), {})
    out, data = tmp_path / "out", open_data("digits")
    result = train_detector(source, data, out, epochs=2, workers=2, resume=False, report=replies.append, **OPTIONS)
    assert [r.kind for r in replies] == ["epoch", "epoch", "rung"]
    assert result["epochs"] == 2
    losses = [epoch["loss"] for epoch in History.read(out / "training").epochs]
    assert losses[1] < losses[0]
    assert read_bundle(out).metrics["values"]["ap"] == result["ap"]


def test_a_batch_that_does_not_split_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    source = Source(tiny_spec(), tiny_recipe(batch_size=9), {})
    with pytest.raises(InputError, match="batch size 9 does not split over 2 workers"):
        train_detector(
            source,
            open_data("digits"),
            tmp_path / "out",
            epochs=1,
            workers=2,
            resume=False,
            report=lambda reply: None,
            **OPTIONS,
        )
    assert not (tmp_path / "out").exists()
