"""Rules one by one: when they act, what they do, and that each can be switched off."""

import pytest

from nasdet.space import RULES, build_specs, parse_space
from nasdet.space.backbones import StagedSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.rules import Context, apply_rules, images_per_statistic, statistic_problem
from nasdet.space.specs import DetectorSpec, NormSpec, Recipe


def spec_of(norm="gn", stem="deep3x3", levels=(-2, -1)):
    return DetectorSpec(norm=NormSpec(kind=norm), backbone=StagedSpec(stem=stem), neck=PyramidSpec(levels=levels))


def recipe_of(**changes):
    return Recipe(**{"epochs": 72, "batch_size": 16, **changes})


# rule, spec, recipe, context; the rule acts on the first candidate and not on the second
CASES = {
    "small_bn_batch": [
        (spec_of("bn"), recipe_of(batch_size=32), Context(workers=4)),
        (spec_of("bn"), recipe_of(batch_size=8), Context(workers=1)),
    ],
    "statistic_too_small": [
        (spec_of("bn"), recipe_of(batch_size=2), Context()),
        (spec_of("bn"), recipe_of(batch_size=4), Context()),
    ],
    "statistic_small": [
        (spec_of("syncbn"), recipe_of(batch_size=8), Context(workers=2)),
        (spec_of("gn"), recipe_of(batch_size=8), Context()),
    ],
    "statistic_large": [
        (spec_of("syncbn"), recipe_of(batch_size=64), Context(workers=8)),
        (spec_of("bn"), recipe_of(batch_size=64), Context(workers=2)),
    ],
    "large_batch_without_syncbn": [
        (spec_of("bn"), recipe_of(batch_size=32), Context(workers=2)),
        (spec_of("bn"), recipe_of(batch_size=32), Context(workers=1)),
    ],
    "large_batch_without_warmup": [
        (spec_of(), recipe_of(batch_size=32, warmup=0), Context()),
        (spec_of(), recipe_of(batch_size=16, warmup=0), Context()),
    ],
    "single_level": [
        (spec_of(levels=(-1,)), recipe_of(), Context()),
        (spec_of(levels=(-2, -1)), recipe_of(), Context()),
    ],
    "large_stem": [
        (spec_of(stem="conv7x7_pool"), recipe_of(), Context()),
        (spec_of(stem="root"), recipe_of(), Context()),
    ],
    "short_schedule": [(spec_of(), recipe_of(epochs=12), Context()), (spec_of(), recipe_of(epochs=36), Context())],
    "little_data": [
        (spec_of(), recipe_of(), Context(train_images=205)),
        (spec_of(), recipe_of(), Context(train_images=118_000)),
    ],
    "lr_scaling": [(spec_of(), recipe_of(batch_size=64), Context()), (spec_of(), recipe_of(), Context())],
    "no_decay_on_norm": [(spec_of(), recipe_of(), Context()), (spec_of(), recipe_of(decay_norms=True), Context())],
    "nothing_frozen": [(spec_of(), recipe_of(), Context()), None],
}


def names_of(actions):
    return [a.rule for a in actions]


def test_every_rule_has_a_case():
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_acts_where_it_should_and_nowhere_else(name):
    acting, idle = CASES[name]
    actions = apply_rules(*acting)[2]
    [action] = [a for a in actions if a.rule == name]
    assert action.effect == RULES[name].effect and action.detail and action.source == RULES[name].source
    if idle:
        assert name not in names_of(apply_rules(*idle)[2])


@pytest.mark.parametrize("name", RULES)
def test_can_be_switched_off(name):
    assert name not in names_of(apply_rules(*CASES[name][0], off=[name])[2])


def test_replacement_changes_the_norm_and_later_rules_see_it():
    spec, _, actions = apply_rules(spec_of("bn"), recipe_of(batch_size=8), Context(workers=4))
    assert spec.norm.kind == "syncbn"
    assert "bn -> syncbn: 2 images per worker" in actions[0].detail
    assert "statistic_too_small" not in names_of(actions) and "statistic_small" in names_of(actions)


def test_only_the_replacing_rule_changes_a_candidate():
    for name, (acting, _) in CASES.items():
        off = [n for n in RULES if n != name]
        spec, recipe, _ = apply_rules(*acting, off=off)
        assert ((spec, recipe) != acting[:2]) == (RULES[name].effect == "replace"), name


@pytest.mark.parametrize(
    ("norm", "workers", "accumulate", "images"), [("gn", 1, 1, None), ("bn", 4, 1, 4), ("syncbn", 4, 2, 8)]
)
def test_images_per_statistic(norm, workers, accumulate, images):
    assert images_per_statistic(spec_of(norm), recipe_of(accumulate=accumulate), workers) == images


@pytest.mark.parametrize(
    ("norm", "chosen", "images"),
    [("gn", 4, None), ("ln", 0, None), ("none", 0, None), ("bn", 32, 32), ("syncbn", 4, 4)],
)
def test_a_chosen_number_of_images_per_statistic(norm, chosen, images):
    assert images_per_statistic(spec_of(norm), recipe_of(images_per_statistic=chosen), 4) == images


def test_a_chosen_statistic_is_not_replaced():
    recipe = recipe_of(batch_size=64, images_per_statistic=4)
    spec, _, actions = apply_rules(spec_of("bn"), recipe, Context(workers=4))
    assert spec.norm.kind == "bn" and "statistic_small" in names_of(actions)
    wide = recipe_of(batch_size=64, images_per_statistic=32)
    assert "large_batch_without_syncbn" in names_of(actions)
    assert "large_batch_without_syncbn" not in names_of(apply_rules(spec_of("bn"), wide, Context(workers=4))[2])


@pytest.mark.parametrize(
    ("images", "workers", "possible"),
    [
        *[(16, 4, True), (8, 4, True), (4, 4, True), (2, 4, True), (3, 4, False), (12, 4, False), (6, 4, False)],
        *[(32, 4, False), (4, 1, True), (32, 1, False), (0, 4, True)],
    ],
)
def test_statistics_must_be_formed_of_whole_workers_or_parts(images, workers, possible):
    recipe = recipe_of(batch_size=16, images_per_statistic=images)
    problem = statistic_problem(spec_of("bn"), recipe, workers)
    assert (problem == "") == possible
    assert possible or f"{images} images per statistic cannot be formed: {workers} workers hold" in problem
    assert not statistic_problem(spec_of("gn"), recipe, workers)


def test_a_statistic_that_cannot_be_formed_is_infeasible(info):
    paths = {"norm.kind": "bn", "recipe.batch_size": 16, "recipe.images_per_statistic": 3}
    data = {
        "space": {path: {"kind": "choice", "values": [value]} for path, value in paths.items()},
        "objectives": [{"name": "ap"}],
    }
    assert build_specs(parse_space(data), paths, info, workers=2).infeasible.startswith("3 images per statistic cannot")


def test_forbidden_candidate_is_infeasible_with_reason_and_paper(info):
    data = {
        "space": {
            "norm.kind": {"kind": "choice", "values": ["bn"]},
            "recipe.batch_size": {"kind": "choice", "values": [2]},
        },
        "objectives": [{"name": "ap"}],
    }
    params = {"norm.kind": "bn", "recipe.batch_size": 2}
    built = build_specs(parse_space(data), params, info)
    assert built.infeasible == ("statistic_too_small: bn over 2 images; use gn or a larger batch (MegDet, table 3)")
    assert not build_specs(parse_space({**data, "rules": {"off": ["statistic_too_small"]}}), params, info).infeasible


def test_norms_of_the_digits_search_are_all_allowed_on_one_worker():
    for norm in ("gn", "bn", "syncbn"):
        for batch in (8, 16, 32):
            spec, _, actions = apply_rules(spec_of(norm), recipe_of(batch_size=batch), Context())
            assert spec.norm.kind == norm and not [a for a in actions if a.effect == "forbid"]
