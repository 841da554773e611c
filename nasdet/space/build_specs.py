"""`build_specs`: from flat parameters to `DetectorSpec` and `Recipe`.

A combination that cannot be built is a value (`Built.infeasible`), not an exception, because the search reports it to
its sampler. A parameter that changes nothing is an error of the program, found by an assertion.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError

from nasdet.space.backbones import STEM_STRIDES, BackboneSpec, StagedSpec
from nasdet.space.domains import Json
from nasdet.space.parameter_paths import VIRTUAL, kinds_with, message_of
from nasdet.space.rules import Context, RuleAction, apply_rules, statistic_problem
from nasdet.space.space import SearchSpace
from nasdet.space.spec_base import kinds_of, spec_of_kind
from nasdet.space.specs import PARTS, DetectorSpec, Recipe

_BACKBONE: TypeAdapter[Any] = TypeAdapter(BackboneSpec)
_DEPTH = r"backbone\.stages\.\d+\.depth"


class DataInfo(Protocol):
    """What building a candidate needs to know about the data set; `nasdet.data.DatasetInfo` has it."""

    @property
    def channels(self) -> int:
        """Bands of an image."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes."""
        ...

    @property
    def mean(self) -> Sequence[float]:
        """Mean of each channel in stored units."""
        ...

    @property
    def std(self) -> Sequence[float]:
        """Standard deviation of each channel in stored units."""
        ...

    @property
    def aspect(self) -> float:
        """Median of width / height."""
        ...

    @property
    def splits(self) -> Mapping[str, int]:
        """Images of each split."""
        ...


@dataclasses.dataclass(frozen=True)
class Built:
    """A candidate, or why there is none.

    Attributes:
        spec: the network; None if the combination cannot be built.
        recipe: the training; None with `spec`.
        applied: what the rules did.
        infeasible: why the candidate must not be trained; empty if it may.
    """

    spec: DetectorSpec | None
    recipe: Recipe | None
    applied: tuple[RuleAction, ...] = ()
    infeasible: str = ""

    @property
    def candidate(self) -> tuple[DetectorSpec, Recipe]:
        """Spec and recipe of a feasible candidate."""
        assert not self.infeasible and self.spec and self.recipe, self.infeasible
        return self.spec, self.recipe


def build_specs(space: SearchSpace, params: Mapping[str, Json], info: DataInfo, workers: int = 1) -> Built:
    """Build the candidate of `params`.

    Args:
        space: where the parameters come from.
        params: every active parameter and no other.
        info: the data set; decides channels, mean, std, classes and the canvas' aspect.
        workers: processes that train one candidate together, for the rules.
    """
    assert not space.function, "a space of a user's function has no detector"
    problems = space.problems(params)
    assert not problems, f"parameters of {space.name}: {'; '.join(problems)}"
    tree = copy.deepcopy(space.fixed)
    for path, value in params.items():
        put(tree, path, copy.deepcopy(value))
    recipe_tree = {**tree.pop("recipe", {}), "epochs": space.budget.epochs}
    _resolve_input(tree, info)
    tree.setdefault("head", {})["classes"] = len(info.classes)
    _leave_out_other_kinds(tree, params)
    wrong = _resolve_first_stride(tree)
    if wrong:
        return Built(None, None, infeasible=wrong)
    _resolve_widths(tree)
    try:
        wrong = _resolve_levels(tree)
        if wrong:
            return Built(None, None, infeasible=wrong)
        spec, recipe = DetectorSpec.model_validate(tree), Recipe.model_validate(recipe_tree)
    except ValidationError as error:
        return Built(None, None, infeasible=message_of(error.errors()[0]))
    _assert_used(params, spec, recipe)
    context = Context(workers, info.splits.get("train"))
    spec, recipe, applied = apply_rules(spec, recipe, context, off=space.rules.off)
    if wrong := statistic_problem(spec, recipe, workers):
        return Built(spec, recipe, applied, wrong)
    forbidden = [f"{a.rule}: {a.detail} ({a.source})" for a in applied if a.effect == "forbid"]
    return Built(spec, recipe, applied, "; ".join(forbidden))


def put(tree: dict[str, Any], path: str, value: Json) -> None:
    """Set the value at a dotted path of nested values such as a space's `fixed`, in place."""
    *middle, last = path.split(".")
    node: Any = tree
    for i, token in enumerate(middle):
        if isinstance(node, list):
            node = node[int(token)]
        elif token == "stages" and token not in node:
            node = _stages_of(node)
        else:
            node = node.setdefault(token, {})
        assert isinstance(node, dict | list), f"{'.'.join(middle[: i + 1])} holds no keys"
    node[last] = value


def _resolve_input(tree: dict[str, Any], info: DataInfo) -> None:
    """Turn `size` and `shape` into height and width, and add what the data set decides."""
    part = tree.setdefault("input", {})
    size, shape = part.pop("size", None), part.pop("shape", "auto")
    if size is not None:
        part["height"], part["width"] = canvas(size, info.aspect if shape == "auto" else 1.0)
    part.update(channels=info.channels, mean=tuple(info.mean), std=tuple(info.std))


def canvas(size: int, aspect: float) -> tuple[int, int]:
    """Height and width of a canvas in pixels, multiples of 32.

    Args:
        size: the long side.
        aspect: width / height of the images.
    """
    long, short = _multiple(size, 32), _multiple(size * min(aspect, 1 / aspect), 32)
    return (short, long) if aspect >= 1 else (long, short)


def _leave_out_other_kinds(tree: dict[str, Any], params: Mapping[str, Json]) -> None:
    """Drop fixed values that only other kinds of a part have than the chosen one; sampled values are never dropped."""
    for part, specs in PARTS.items():
        node = tree.setdefault(part, {})
        chosen = spec_of_kind(specs, node.get("kind", specs[0].model_fields["kind"].default))
        if chosen is None:
            continue
        for key in set(node) - set(chosen.model_fields):
            owners = kinds_with(f"{part}.{key}")
            sampled = any(path.startswith(f"{part}.{key}") for path in params)
            if owners and not set(owners[1]) & set(kinds_of(chosen)) and not sampled:
                del node[key]


def _resolve_first_stride(tree: dict[str, Any]) -> str:
    """Turn `first_stride` into the stride of the first stage; returns why that is impossible, else ""."""
    backbone = tree.setdefault("backbone", {})
    wanted = backbone.pop("first_stride", None)
    if wanted is None:
        return ""
    stem = backbone.get("stem", StagedSpec().stem)
    stride = wanted // STEM_STRIDES[stem]
    if stride not in (1, 2):
        return f"stem {stem} has stride {STEM_STRIDES[stem]}, so the first stage cannot work at stride {wanted}"
    kept = _kept_stages(backbone)
    if kept:
        kept[0]["stride"] = stride
    return ""


def _resolve_levels(tree: dict[str, Any]) -> str:
    """Turn `neck.min_stride` into levels; returns why that is impossible, else ""."""
    neck, backbone = tree.setdefault("neck", {}), tree["backbone"]
    smallest = neck.pop("min_stride", None)
    if smallest is None:
        return ""
    strides = _BACKBONE.validate_python(backbone).strides
    count = sum(s >= smallest for s in strides)
    neck["levels"] = list(range(-count, 0))
    return "" if count else f"no stage works at stride {smallest}: the backbone has strides {list(strides)}"


def _kept_stages(backbone: dict[str, Any]) -> list[dict[str, Any]]:
    return [s for s in _stages_of(backbone) if s.get("depth", 1) > 0]


def _stages_of(backbone: dict[str, Any]) -> list[dict[str, Any]]:
    stages: list[dict[str, Any]] = backbone.setdefault("stages", [s.to_json() for s in StagedSpec().stages])
    return stages


def _resolve_widths(tree: dict[str, Any]) -> None:
    """Turn `backbone.width` and `growth` into a width for each stage that is not left out."""
    backbone = tree.setdefault("backbone", {})
    width, growth = backbone.pop("width", None), backbone.pop("growth", 2.0)
    if width is None:
        return
    power = 0
    for i, stage in enumerate(_kept_stages(backbone)):
        power += 1 if i and stage.get("stride", 2) == 2 else 0
        stage["width"] = _multiple(width * growth**power, 8)


def _multiple(value: float, of: int) -> int:
    return max(of, int(value / of + 0.5) * of)


def _assert_used(params: Mapping[str, Json], spec: DetectorSpec, recipe: Recipe) -> None:
    """Assert that every sampled value is in the result, where stages after one of depth 0 have smaller numbers."""
    values: dict[str, Any] = {"recipe": recipe.to_json(), **spec.to_json()}
    skipped = sorted(int(p.split(".")[2]) for p, v in params.items() if re.fullmatch(_DEPTH, p) and v == 0)
    for path, value in params.items():
        if path in VIRTUAL or (re.fullmatch(_DEPTH, path) and value == 0):
            continue
        node: Any = values
        for token in path.split("."):
            node = node[int(token) - sum(i < int(token) for i in skipped) if isinstance(node, list) else token]
        assert node == value, f"{path} = {value!r} was not used: the candidate has {node!r}"
