"""`start:` goes on from an earlier study: its front is tried first, what a picked trial has is kept."""

from __future__ import annotations

import pytest

from nasdet.driver.start import with_start
from nasdet.errors import InputError
from nasdet.space import build_specs, load_space, parse_space


def modular(store, **start):
    """A space that searches one of the parameters of the tiny study, and another one."""
    data = {
        "fixed": {"input": {"size": 64}, "neck": {"kind": "none"}},
        "space": {
            "backbone.width": {"kind": "int", "low": 8, "high": 64, "step": 8},
            "head.depth": {"kind": "int", "low": 0, "high": 4},
        },
        "objectives": [{"name": "ap"}],
        "start": {"study": str(store.dir), **start},
    }
    return parse_space(data)


def test_the_front_is_tried_first(study):
    store, summary = study
    space = with_start(modular(store))
    front = [store.get(member["trial"]).params for member in summary["front"]]
    assert list(space.points) == _distinct([{p: m[p] for p in space.parameters} for m in front])
    assert space.fixed == {"input": {"size": 64}, "neck": {"kind": "none"}}


def _distinct(points):
    return [p for i, p in enumerate(points) if p not in points[:i]]


def test_a_picked_trial_is_kept_where_nothing_is_searched(study, info):
    store, summary = study
    trial = summary["front"][0]["trial"]
    space = with_start(modular(store, pick=trial))
    assert space.points[0] == {p: store.get(trial).params[p] for p in space.parameters}
    built = build_specs(space, dict(space.points[0]), info).candidate[0]
    there = store.get(trial).spec
    assert built.neck.to_json() == there["neck"]
    assert built.backbone.to_json() == there["backbone"]
    assert built.head.to_json() == there["head"]


def test_what_the_study_fixed_and_this_space_searches_is_tried_first(study):
    data = {
        "space": {
            "recipe.optimizer": {"kind": "choice", "values": ["adamw", "sgd"]},
            "input.size": {"kind": "choice", "values": [64, 96]},
        },
        "objectives": [{"name": "ap"}],
        "start": {"study": str(study[0].dir), "pick": "best"},
    }
    assert with_start(parse_space(data)).points == ({"recipe.optimizer": "adamw", "input.size": 96},)


def test_the_space_is_complete_without_the_study(study, tmp_path):
    space = with_start(modular(study[0], pick="best"))
    assert space.start.study is None
    assert study[0].name in space.description
    (tmp_path / "space.yaml").write_text(space.to_yaml())
    assert load_space(tmp_path / "space.yaml").fixed == space.fixed


def test_without_a_study_nothing_changes():
    space = load_space("vit_drop_path")
    assert with_start(space) is space


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"study": "nowhere"}, "space: start: no study 'nowhere'"),
        ({"pick": "bestt"}, "space: start: no rule and no trial is called 'bestt'; did you mean 'best'"),
    ],
)
def test_what_does_not_exist_is_named(study, start, message):
    with pytest.raises(InputError, match=message):
        with_start(modular(study[0], **start))


def test_a_study_without_a_shared_parameter_is_refused(study):
    data = {
        "space": {"recipe.momentum": {"kind": "float", "low": 0.8, "high": 0.95}},
        "objectives": [{"name": "ap"}],
        "start": {"study": str(study[0].dir)},
    }
    with pytest.raises(InputError, match="has no complete trial with a parameter of this space; start from another"):
        with_start(parse_space(data))
