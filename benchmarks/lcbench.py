"""The surrogate of LCBench as a search problem: 34 tasks, 7 hyperparameters, learning curves of 52 epochs.

    from lcbench import Task

LCBench (Zimmer et al. 2021) holds learning curves of small networks on tabular data; the surrogate (Pfisterer et al.
2022, YAHPO Gym, Apache-2.0) predicts the curve of any configuration. Its model file is not part of the project; it is
looked for in `$NASDET_TEST_DATA/lcbench`, then in `../shared/data/lcbench`.
"""

from __future__ import annotations

import functools
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasdet.errors import InputError
from nasdet.pareto import hypervolume, non_dominated
from nasdet.space import SearchSpace, parse_space

DEVELOPMENT = ("3945", "7593", "189865", "168330", "126026", "167152", "34539", "167104", "168908", "189873")
"""Tasks that the search was developed on."""
EPOCHS = 52
SAMPLES = 60_000
"""Random configurations behind a reference front."""
REFINED = 40
"""Rounds of local search that improve the reference front; regret is measured to the result."""
_INPUTS = ("batch_size", "learning_rate", "momentum", "weight_decay", "num_layers", "max_units", "max_dropout")
SPACE: dict[str, Any] = {
    "name": "lcbench",
    "space": {
        "batch_size": {"kind": "int", "low": 16, "high": 512, "log": True},
        "learning_rate": {"kind": "float", "low": 1e-4, "high": 0.1, "log": True},
        "momentum": {"kind": "float", "low": 0.1, "high": 0.99},
        "weight_decay": {"kind": "float", "low": 1e-5, "high": 0.1},
        "num_layers": {"kind": "int", "low": 1, "high": 5},
        "max_units": {"kind": "int", "low": 64, "high": 1024, "log": True},
        "max_dropout": {"kind": "float", "low": 0.0, "high": 1.0},
    },
    "objectives": [{"name": "accuracy", "direction": "max"}, {"name": "size", "direction": "min"}],
}
Floats = NDArray[np.float64]


def find_data() -> Path:
    """The folder of the surrogate."""
    places = [Path(p) for p in (os.environ.get("NASDET_TEST_DATA"), "../shared/data") if p]
    for place in places:
        if (place / "lcbench" / "model.onnx").is_file():
            return place / "lcbench"
    raise InputError(
        "no LCBench surrogate here",
        where=str(places[0] / "lcbench"),
        remedy="set NASDET_TEST_DATA to the folder that holds YAHPO Gym's lcbench",
    )


@functools.cache
def _session() -> tuple[Any, dict[str, int]]:
    try:
        import onnxruntime
    except ImportError:
        raise InputError("onnxruntime is missing", remedy="pip install 'nasdet[onnx]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    folder = find_data()
    codes = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"]
    return onnxruntime.InferenceSession(str(folder / "model.onnx"), options), codes


def task_names() -> list[str]:
    """Every task, in the order of the configuration space."""
    description = json.loads((find_data() / "config_space.json").read_text())
    return list(next(h["choices"] for h in description["hyperparameters"] if h["name"] == "OpenML_task_id"))


def size_of(params: dict[str, Any]) -> float:
    """log10 of the approximate number of weights, which is known before training."""
    units, layers = params["max_units"], params["num_layers"]
    return math.log10(50 * units + (layers - 1) * units**2 / 2 + 10 * units)


def space(rungs: tuple[int, ...], total: int, **more: Any) -> SearchSpace:
    """The search space with a budget of `total` epochs over all candidates."""
    budget = {"epochs": EPOCHS, "rungs": list(rungs), "total_epochs": total}
    return parse_space({**SPACE, "budget": budget, **more}, function=True)


class Task:
    """One data set of LCBench."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._session, codes = _session()
        self._code = codes[name]

    def accuracies(self, table: Floats, epochs: float) -> Floats:
        """Validation accuracy `(N,)` in percent of configurations `(N, 7)` in the order of `_INPUTS`."""
        inputs = np.concatenate([np.full((len(table), 1), epochs), table], axis=1).astype(np.float32)
        code = np.full((len(table), 1), self._code, dtype=np.int32)
        return np.asarray(self._session.run(None, {"x_cat": code, "x_cont": inputs})[0][:, 1], dtype=np.float64)

    def evaluate(self, params: dict[str, Any], epochs: int) -> dict[str, float]:
        """Values of one configuration at a budget."""
        table = np.array([[float(params[n]) for n in _INPUTS]])
        return {"accuracy": float(self.accuracies(table, epochs)[0]), "size": size_of(params)}

    def reference(self) -> dict[str, Any]:
        """Reference point, hypervolume of the front of 60,000 random configurations, and of the best front known.

        The point is (5th percentile of their accuracy, their largest size). The best front known is the random one
        after local search; regret is measured to it.
        """
        rng = np.random.default_rng(0)
        table, points = self._random(SAMPLES, rng)
        corner = np.array([-np.percentile(-points[:, 0], 5), points[:, 1].max()])
        on = non_dominated(points, ["min", "min"])
        random_volume = hypervolume(points[on], corner)
        table, points = table[on], points[on]
        for _ in range(REFINED):
            changed = _changed(table[rng.integers(len(table), size=4000)], rng)
            table, points = np.concatenate([table, changed]), np.concatenate([points, self._points(changed)])
            on = non_dominated(points, ["min", "min"])
            table, points = table[on], points[on]
        best = hypervolume(points, corner)
        return {"point": [-float(corner[0]), float(corner[1])], "hypervolume": random_volume, "best_hypervolume": best}

    def random_epochs(self, seed: int, point: list[float], volume: float, most: int) -> int:
        """Epochs that random search needs to reach this hypervolume below `point` (accuracy, size); `most` if it needs
        more."""
        low, front = np.array([-point[0], point[1]]), np.empty((0, 2))
        _, points = self._random(most // EPOCHS, np.random.default_rng([1, seed]))
        for number, new in enumerate(points, 1):
            if not np.any(np.all(front <= new, axis=1)):
                front = np.concatenate([front[~np.all(new <= front, axis=1)], new[None]])
                if hypervolume(front, low) >= volume:
                    return number * EPOCHS
        return most

    def _random(self, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """`count` random configurations `(N, 7)` and their points (minus accuracy, size)."""
        where = space((EPOCHS,), EPOCHS)
        table = np.array([_row(where.sample(rng)) for _ in range(count)])
        return table, self._points(table)

    def _points(self, table: Floats) -> Floats:
        units, layers = table[:, 5], table[:, 4]
        sizes = np.log10(50 * units + (layers - 1) * units**2 / 2 + 10 * units)
        return np.stack([-self.accuracies(table, EPOCHS), sizes], axis=1)


def _row(params: dict[str, Any]) -> list[float]:
    return [float(params[n]) for n in _INPUTS]


def _changed(table: Floats, rng: np.random.Generator) -> Floats:
    """Copies in which about a third of the values are moved a little; integers stay integers."""
    low = np.array([math.log(16), math.log(1e-4), 0.1, 1e-5, 1, math.log(64), 0.0])
    high = np.array([math.log(512), math.log(0.1), 0.99, 0.1, 5, math.log(1024), 1.0])
    logs, whole = [0, 1, 5], [0, 4, 5]
    moved = table.copy()
    moved[:, logs] = np.log(moved[:, logs])
    step = 10 ** rng.uniform(-2.5, -0.5, size=(len(table), 1)) * rng.standard_normal(table.shape) * (high - low)
    moved = np.clip(moved + step * (rng.random(table.shape) < 0.35), low, high)
    moved[:, logs] = np.exp(moved[:, logs])
    moved[:, whole] = np.round(moved[:, whole])
    return moved
