"""`start:` goes on from an earlier study: its front is tried first, what a picked trial has is kept."""

from __future__ import annotations

import pytest

from nasdet.driver.study.warm_start import with_start
from nasdet.errors import InputError
from nasdet.search import StudyStore, simulate
from nasdet.space import build_specs, load_space, parse_space
from nasdet.study_config import StudyConfig

pytestmark = pytest.mark.ray  # the study is searched on Ray, once for all files


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
    front = [store.get(member.trial).params for member in summary.front]
    assert list(space.points) == _distinct([{p: m[p] for p in space.parameters} for m in front])
    assert space.fixed == {"input": {"size": 64}, "neck": {"kind": "none"}}


def _distinct(points):
    return [p for i, p in enumerate(points) if p not in points[:i]]


def test_a_picked_trial_is_kept_where_nothing_is_searched(study, info):
    store, summary = study
    trial = summary.front[0].trial
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
    assert with_start(parse_space(data)).points == ({"recipe.optimizer": "adamw", "input.size": 64},)


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


OWN = {
    "name": "own",
    "space": {
        "rate": {"kind": "float", "low": 0.0, "high": 1.0},
        "norm": {"kind": "choice", "values": ["none", "batch"]},
        "momentum": {"kind": "float", "low": 0.0, "high": 1.0, "when": {"norm": "batch"}},
    },
    "objectives": [{"name": "good", "direction": "max"}, {"name": "size", "direction": "min"}],
    "budget": {"epochs": 3, "rungs": [1, 3], "trials": 12},
}


def found(params, epochs):
    return {"good": 1 - (params["rate"] - 0.3) ** 2 - 0.1 / epochs, "size": 2.0 if params["norm"] == "batch" else 1.0}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "own-1"
    store = StudyStore.create(folder, StudyConfig(study="own-1", data=""), parse_space(OWN, function=True))
    return simulate(found, store.space, workers=2, store=store).study


def going_on(own, pick=None, **domains):
    """A function's space with these parameters, started from the study."""
    start = {"study": str(own.store.dir)} | ({"pick": pick} if pick else {})
    return with_start(parse_space({**OWN, "space": domains, "start": start}, function=True))


def test_a_functions_space_goes_on_by_shared_parameters(own):
    space = going_on(own, rate=OWN["space"]["rate"], depth={"kind": "int", "low": 1, "high": 4})
    assert list(space.points) == _distinct([{"rate": r.params["rate"]} for r in own.front])
    again = simulate(lambda p, e: {"good": p["rate"] * p["depth"], "size": float(p["depth"])}, space, workers=1)
    first = [r.params["rate"] for r in again.study.records[: len(space.points)]]
    assert first == [p["rate"] for p in space.points]


def test_of_a_functions_space_values_outside_the_new_domain_are_left_out(own):
    narrow = {"kind": "choice", "values": ["batch", "layer"]}
    points = going_on(own, rate=OWN["space"]["rate"], norm=narrow, momentum=OWN["space"]["momentum"]).points
    assert points and all(p.get("norm", "batch") == "batch" for p in points)


def test_a_functions_space_can_pick_what_it_searches_and_nothing_else(own):
    trial = own.front[0]
    assert going_on(own, trial.trial, **OWN["space"]).points[0] == trial.params
    with pytest.raises(
        InputError, match=r"own: start.pick: the picked trial has norm.*, which this space does not search"
    ):
        going_on(own, trial.trial, rate=OWN["space"]["rate"])


def test_a_functions_space_with_nothing_in_common_is_refused(own):
    with pytest.raises(InputError, match="has no complete trial with a parameter of this space"):
        going_on(own, depth={"kind": "int", "low": 1, "high": 4})
