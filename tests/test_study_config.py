from __future__ import annotations

import json

import pytest

from nasdet.study_config import ConfigChanges, GroupStart, ResourcePlan, StudyConfig

OLD = {
    "study": "digits-1",
    "data": "digits",
    "classes": ["0", "1"],
    "tile": {"size": 512, "overlap": 100},
    "address": None,
    "tracking_uri": None,
    "storage": None,
    "wall_seconds": 81.25,
    "repeat_front": 0,
    "baseline": False,
    "function": False,
    "plan": {"device": "cpu", "workers": 1, "concurrent": 2, "threads": 1},
    "latency": {"device": "cpu", "batch": 1, "threads": 2, "backend": "onnxruntime"},
    "reference_point": [0.0, 12.5],
    "skipped": 3,
    "settled": [{"x": 1}],
    "group_starts": [{"created": 1.0, "entered": 2.0, "imported": 3.0, "ready": 4.5, "pid0": 77.0}],
    "finished": True,
}
"""As an earlier version wrote it; `settled` and `pid0` are no fields."""


def test_an_old_configuration_comes_back_whole() -> None:
    config = StudyConfig.from_json(OLD)
    assert json.loads(json.dumps(config.to_json())) == OLD
    assert config.plan == ResourcePlan("cpu", 1, 2, 1) and config.group_starts[0].ready == 4.5
    assert config.reference_point == (0.0, 12.5) and config.classes == ("0", "1") and config.finished


def test_only_what_was_given_is_written() -> None:
    assert StudyConfig(study="s", data="").to_json() == {"study": "s", "data": ""}
    assert StudyConfig(study="s", data="").replace(finished=True).to_json()["finished"] is True


def test_a_change_leaves_the_old_value_as_it_was() -> None:
    config = StudyConfig.from_json(OLD)
    start = GroupStart(created=0.0, entered=0.0, imported=0.0, ready=1.0)
    changed = config.replace(group_starts=(start,), skipped=4)
    assert (config.skipped, changed.skipped, changed.group_starts) == (3, 4, (start,))
    assert changed.to_json()["settled"] == [{"x": 1}]
    with pytest.raises(ValueError, match="frozen"):
        config.skipped = 4  # type: ignore[misc]


def test_a_name_that_is_no_field_is_refused() -> None:
    with pytest.raises(TypeError, match="no value of a study is named finishd"):
        StudyConfig(study="s", data="").replace(finishd=True)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="wall_seconds"):
        StudyConfig(study="s", data="").replace(wall_seconds="long")  # type: ignore[arg-type]


def test_what_may_change_is_a_field() -> None:
    assert set(ConfigChanges.__annotations__) <= set(StudyConfig.model_fields)
