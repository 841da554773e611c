"""Every bundled space: parses, states its command, survives its own YAML, and its samples build."""

import collections
import itertools
import pickle
import random

import pytest

from nasdet.errors import InputError
from nasdet.space import build_specs, bundled_spaces, load_space
from nasdet.space.bundled_spaces import find_space
from nasdet.space.schema import COSTS, OBJECTIVES

SPACES = bundled_spaces()


def test_the_named_ones_exist():
    assert {"detnet", "detnet_coco", "quick"} <= set(SPACES)


@pytest.mark.parametrize("name", SPACES)
def test_opens_with_command_time_and_result(name):
    head = list(itertools.takewhile(lambda line: line.startswith("#"), SPACES[name].read_text().splitlines()))
    text = "\n".join(head)
    assert head[0] == "# yaml-language-server: $schema=schema.json"
    assert f"# nasdet search search_spaces/{name}.yaml" in text
    assert "# Expected: " in text or "# Budget: " in text
    assert "# Measured: " in text


@pytest.mark.parametrize("name", SPACES)
def test_loads_by_name_and_from_its_own_text(name, tmp_path):
    space = load_space(name)
    assert space == load_space(SPACES[name]) == load_space(f"{name}.yaml")
    (tmp_path / "space.yaml").write_text(space.to_yaml())
    again = load_space(tmp_path / "space.yaml")
    assert again == space
    assert again.to_yaml() == space.to_yaml()
    assert pickle.loads(pickle.dumps(space)) == space
    assert {o.name for o in space.objectives} <= set(OBJECTIVES)
    assert {c.name for c in space.constraints} <= set(COSTS)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("name", SPACES)
def test_samples_build_or_say_why_not(name, workers, info):
    space, rng = load_space(name), random.Random(1)
    feasible = 0
    for _ in range(100):
        params = space.sample(rng)
        assert not space.problems(params)
        assert set(params) == set(space.active(params))
        built = build_specs(space, params, info, workers)
        assert (built.spec is not None) or built.infeasible
        if not built.infeasible:
            feasible += 1
            spec, recipe = built.candidate
            assert recipe.epochs == space.budget.epochs
            assert spec.head.classes == 10 and spec.input.channels == 1
            assert recipe.batch_size == params.get("recipe.batch_size", recipe.batch_size)
    assert feasible >= 66


@pytest.mark.parametrize("name", SPACES)
def test_points_are_complete_and_build(name, info):
    space = load_space(name)
    for point in space.points:
        first, second = (space.sample(random.Random(seed), point) for seed in (1, 2))
        active = {k: v for k, v in point.items() if k in first}
        assert active.items() <= first.items()
        assert len(active) >= len(point) - 3  # what a condition of the point switches off
        assert {k: first[k] for k in point if k in first} == {k: second[k] for k in point if k in second}
        assert not build_specs(space, first, info).infeasible


def test_detnet_points_try_every_norm(info):
    space = load_space("detnet")
    specs = [build_specs(space, space.sample(random.Random(0), p), info).candidate[0] for p in space.points]
    assert {s.norm.kind for s in specs} == {"gn", "bn", "syncbn"}
    assert any(s.backbone.stages[-1].dilation == 2 for s in specs)


def test_detnet_samples_every_choice():
    space, rng = load_space("detnet"), random.Random(0)
    seen = collections.defaultdict(set)
    for _ in range(400):
        for name, value in space.sample(rng).items():
            seen[name].add(str(value))
    for name, domain in space.parameters.items():
        if hasattr(domain, "values"):
            assert len(seen[name]) == len(domain.values), name


def test_unknown_name_lists_the_bundled_ones():
    with pytest.raises(InputError, match=r"no search space 'detnett.yaml'; give a YAML file .*detnet, detnet_coco"):
        find_space("detnett.yaml")
