"""Whether short trainings rank candidates as full ones do. One decision: a calibration is a study like any other, in
which nobody is stopped, so it can be looked at in MLflow, and its trainings are the real ones."""

from __future__ import annotations

import copy
import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.util import load_yaml_guess_indent

from nasdet.analysis.rank_correlation import rank_correlation
from nasdet.data import DatasetInfo
from nasdet.driver.study.candidates import builder
from nasdet.driver.study.detector_search import open_study_data, start_search
from nasdet.driver.study.options import SearchOptions
from nasdet.errors import InputError
from nasdet.search import open_study
from nasdet.search.engine.constraints import violations
from nasdet.space import SearchSpace, parse_space
from nasdet.space.schema import ENOUGH_TAU
from nasdet.trial import TrialRecord

ACCURACIES = ("ap", "ap50")
"""Objectives that a training is needed for."""
SHARES = (0.125, 0.25, 0.5)
"""Shares of the full training that are tried, beside the space's own rungs."""
DRAWN = 10
"""Random candidates for each one that is trained; they are ordered by multiply-adds and taken at even distances."""


def calibrate(space: SearchSpace, options: SearchOptions, models: int) -> dict[str, Any]:
    """Train candidates in full, compare their order at every shorter length with the final one.

    Args:
        space: whose candidates are drawn.
        options: as for a search.
        models: how many candidates.

    Returns:
        Plain JSON values: study, objective, models (trained in full), epochs (of a full training), for each of
        `fidelities` its epochs, Kendall's tau (b) with a 95% bootstrap interval over the candidates, and cost (a share
        of a full training); `cheapest`: the shortest whose tau is at least 0.7, or None.

    Raises:
        InputError: as `start_search`; no accuracy is an objective; or fewer than 4 candidates were trained in full.
    """
    source = options.data or space.data.source
    if not source:
        raise InputError("no data set", where=space.name, remedy="add --data SRC (try --data digits)")
    name = next((o.name for o in space.objectives if o.name in ACCURACIES), None)
    if name is None:
        raise InputError("has no objective ap or ap50 to order candidates by", where=space.name, remedy="add one")
    info = open_study_data(source, space).info
    summary = start_search(_without_stops(space, _spread(space, info, models), models), options)
    store = open_study(summary.folder)
    complete = [r for r in store.records() if r.state == "complete"]
    if len(complete) < 4:
        what = f"{len(complete)} candidates were trained in full, an order needs at least 4"
        raise InputError(what, where=space.name, remedy="see why in the study, or add --models N")
    found = fidelities(complete, name, space)
    cheapest = next((f["epochs"] for f in found if f["tau"] >= ENOUGH_TAU), None)
    return {
        "study": summary.study,
        "space": space.name,
        "data": summary.data,
        "objective": name,
        "models": len(complete),
        "epochs": space.budget.epochs,
        "fidelities": found,
        "cheapest": cheapest,
    }


def fidelities(records: Sequence[TrialRecord], name: str, space: SearchSpace) -> list[dict[str, float]]:
    """Kendall's tau of `name` at every shorter length with its value at the full one, shortest first."""
    epochs = space.budget.epochs
    values = {r.trial: {rung.epochs: rung.values[name] for rung in r.rungs} for r in records}
    rungs = sorted(set.intersection(*(set(v) for v in values.values())) - {epochs})
    final = np.array([v[epochs] for v in values.values()])
    result = []
    for rung in rungs:
        early = np.array([v[rung] for v in values.values()])
        tau, low, high = rank_correlation(early, final)
        cost = float(space.work(rung) / space.work(epochs))
        result.append({"epochs": rung, "tau": tau, "low": low, "high": high, "cost": cost})
    return result


def write_calibration(path: Path, result: dict[str, Any], eta: int) -> tuple[int, ...]:
    """Put the result, and the rungs that follow from it, into the space's file, whose comments stay; returns the rungs.

    Raises:
        InputError: no fidelity is good enough, so there is nothing to rank by.
    """
    cheapest = result["cheapest"]
    if cheapest is None:
        what = f"no shorter training keeps a tau of {ENOUGH_TAU}"
        raise InputError(what, where=str(path), remedy="set scheduler: {kind: full} there, or a larger budget.epochs")
    rungs = [cheapest]
    while rungs[-1] * eta < result["epochs"]:
        rungs.append(rungs[-1] * eta)
    rungs.append(result["epochs"])
    best = next(f for f in result["fidelities"] if f["epochs"] == cheapest)
    document, sequence, offset = load_yaml_guess_indent(path.read_text(encoding="utf-8"))
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 120
    yaml.indent(mapping=2, sequence=sequence or 4, offset=2 if offset is None else offset)
    document.setdefault("budget", {})["rungs"] = rungs
    keys = {"epochs": cheapest, "tau": best["tau"], "low": best["low"], "high": best["high"]}
    document["calibration"] = {k: round(v, 3) for k, v in keys.items()} | {"models": result["models"]}
    text = io.StringIO()
    yaml.dump(document, text)
    path.write_text(text.getvalue(), encoding="utf-8")
    return tuple(rungs)


def _without_stops(space: SearchSpace, points: list[dict[str, Any]], models: int) -> SearchSpace:
    """The space with these candidates, each compared at many lengths and none stopped."""
    epochs = space.budget.epochs
    rungs = {max(1, round(share * epochs)) for share in SHARES} | set(space.rungs()) | {epochs}
    raw = copy.deepcopy(space.raw)
    budget = {key: v for key, v in raw.get("budget", {}).items() if key not in ("time_limit", "total_epochs")}
    raw["budget"] = {**budget, "trials": models, "rungs": sorted(rungs)}
    raw["scheduler"], raw["sampler"], raw["points"] = {"kind": "halving", "eta": 1}, {"kind": "random"}, points
    raw["name"] = f"{space.name}-calibration"
    return parse_space(raw, name=raw["name"])


def _spread(space: SearchSpace, info: DatasetInfo, models: int) -> list[dict[str, Any]]:
    """Random candidates at even distances in the order of their multiply-adds."""
    rng, build = random.Random(space.budget.seed), builder(space, info, 1)
    drawn = [space.sample(rng) for _ in range(DRAWN * models)]
    made = [build(params) for params in drawn]
    good = [i for i, c in enumerate(made) if not c.infeasible and not violations(space, c.costs)]
    costs = sorted((made[i].costs["gflops"], i) for i in good)
    places = np.linspace(0, len(costs) - 1, min(models, len(costs))).round().astype(int)
    return [drawn[costs[place][1]] for place in dict.fromkeys(places.tolist())]
