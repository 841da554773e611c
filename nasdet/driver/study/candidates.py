"""From flat parameters to a candidate with its cheap costs. One decision: parameters and multiply-adds are counted on
the meta device, so a candidate beyond a constraint costs milliseconds and no training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nasdet.models import count_costs
from nasdet.models.checkpoint import locate
from nasdet.models.pretrained import RANDOM
from nasdet.search import Candidate
from nasdet.space import DataInfo, SearchSpace, build_specs
from nasdet.space.rules import BATCH_NORMS
from nasdet.space.specs import DetectorSpec, Recipe


def not_split(recipe: Recipe, workers: int) -> str:
    """Why a batch cannot be split over this number of workers; empty if it can."""
    whole = recipe.batch_size % (workers * recipe.accumulate) == 0
    return "" if whole else f"batch size {recipe.batch_size} does not split over {workers} workers"


def with_located_init(recipe: Recipe) -> Recipe:
    """The recipe with a checkpoint that a worker finds from its own working directory.

    Raises:
        InputError: `recipe.init` names no checkpoint on this machine.
    """
    return recipe if recipe.init == RANDOM else recipe.model_copy(update={"init": locate(recipe.init)})


def of_one_worker(spec: DetectorSpec, recipe: Recipe) -> tuple[DetectorSpec, Recipe]:
    """The candidate in the one form that it has where one worker trains it.

    Synchronised batch norm is batch norm there, and to name all images of the micro-batch as those of a statistic says
    nothing: candidates that differ in such words only train the same, so that the second one counts as a duplicate.
    """
    if spec.norm.kind == "syncbn":
        spec = spec.model_copy(update={"norm": spec.norm.model_copy(update={"kind": "bn"})})
    if spec.norm.kind not in BATCH_NORMS or recipe.images_per_statistic == recipe.batch_size // recipe.accumulate:
        recipe = recipe.model_copy(update={"images_per_statistic": 0})
    return spec, recipe


def builder(space: SearchSpace, info: DataInfo, workers: int) -> Callable[[dict[str, Any]], Candidate]:
    """The function that turns parameters into candidates, for the engine.

    Args:
        space: the search space.
        info: the data set, for channels, classes and the canvas.
        workers: of one trial; every batch must split over them.
    """

    def build(params: dict[str, Any]) -> Candidate:
        built = build_specs(space, params, info, workers)
        if built.spec is None or built.recipe is None or built.infeasible:
            return Candidate(None, None, {}, built.infeasible)
        if reason := not_split(built.recipe, workers):
            return Candidate(None, None, {}, reason)
        spec, recipe = of_one_worker(*built.candidate) if workers == 1 else built.candidate
        costs = count_costs(spec)
        values = {"params_m": costs.params_m, "gflops": costs.gflops}
        return Candidate(spec.to_json(), with_located_init(recipe).to_json(), values)

    return build
