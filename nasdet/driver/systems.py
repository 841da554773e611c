"""The systems of the literature, with their sizes counted here. One decision: each is built on the meta device when it
is asked for, so that the table cannot differ from what `nasdet train` builds."""

from __future__ import annotations

from typing import Any

from nasdet.models import count_costs
from nasdet.models.costs import published_count
from nasdet.space import load_recipe
from nasdet.space.presets import SYSTEMS, System


def describe(system: System) -> dict[str, Any]:
    """Plain JSON values: parameters (counted as the source counts), multiply-adds at the published input, origin."""
    costs = count_costs(system.spec)
    return {
        "name": system.name,
        "params": published_count(system.spec, system.counts),
        "macs": costs.macs,
        "input": [system.spec.input.height, system.spec.input.width],
        "init": system.init,
        "source": system.source,
        "published_params": system.published_params,
        "published_macs": system.published_macs,
        "counts": system.counts,
        "trainable": costs.params,
        "classes": system.spec.head.classes,
        "recipe": system.recipe,
        "recipe_source": load_recipe(system.recipe).source,
        "result": system.result,
        "note": system.note,
    }


def describe_all() -> list[dict[str, Any]]:
    """Every preset, by name."""
    return [describe(SYSTEMS[name]) for name in sorted(SYSTEMS)]
