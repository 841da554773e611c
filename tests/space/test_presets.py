"""Systems of the literature under a search space."""

from __future__ import annotations

from typing import Any

import pytest

from nasdet.errors import InputError
from nasdet.space import build_specs, parse_space
from nasdet.space.presets import SYSTEMS, deep_merge
from nasdet.space.specs import DetectorSpec


def space(fixed: dict[str, Any], searched: dict[str, list[Any]]) -> Any:
    entries = {name: {"kind": "choice", "values": values} for name, values in searched.items()}
    return parse_space({"space": entries, "fixed": fixed, "objectives": [{"name": "ap"}]})


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_can_lie_under_a_space(name: str, info: Any) -> None:
    made = space({"preset": name}, {"recipe.base_lr": [0.01]})
    spec = build_specs(made, {"recipe.base_lr": 0.01}, info).candidate[0]
    system = SYSTEMS[name].spec
    wanted = system.to_json()
    wanted["input"].update(channels=info.channels, mean=list(info.mean), std=list(info.std))
    wanted["head"]["classes"] = len(info.classes)
    assert spec == DetectorSpec.model_validate(wanted)
    assert "preset" not in made.fixed and parse_space(made.raw).fixed == made.fixed


def test_what_is_fixed_or_searched_replaces_the_preset(info: Any) -> None:
    fixed = {"preset": "nasdet_s", "input": {"size": 96, "shape": "square"}, "neck": {"depth": 2}}
    made = space(fixed, {"backbone.width": [16], "neck.min_stride": [16], "head.depth": [1]})
    spec = build_specs(made, {"backbone.width": 16, "neck.min_stride": 16, "head.depth": 1}, info).candidate[0]
    assert (spec.input.height, spec.neck.depth, spec.head.depth, spec.neck.levels) == (96, 2, 1, (-2, -1))
    assert [s.width for s in spec.backbone.stages] == [16, 32, 64, 128] and spec.activation == "silu"


def test_an_unknown_system_is_named() -> None:
    with pytest.raises(InputError, match=r"fixed\.preset: unknown system 'nasdet_x'; did you mean 'nasdet_s'"):
        space({"preset": "nasdet_x"}, {"head.depth": [1]})


def test_deep_merge_replaces_lists_and_merges_mappings() -> None:
    assert deep_merge({"a": {"b": [1, 2], "c": 1}, "d": 0}, {"a": {"b": [3]}}) == {"a": {"b": [3], "c": 1}, "d": 0}
