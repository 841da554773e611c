"""How well the order of candidates by one value agrees with their order by another: Kendall's tau-b, with a bootstrap
interval over the candidates, since with a dozen of them the figure alone says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from nasdet.pareto import ObjectiveLike
from nasdet.trial import TrialRecord

Floats = NDArray[np.float64]

RESAMPLES = 2000
"""Bootstrap samples of the candidates behind an interval."""
FEWEST = 4
"""Fewer candidates have no rank correlation."""
SCORE = "score_"
"""How the names of training-free scores begin."""
SIZES = ("params_m", "gflops")
"""Plain sizes, which a training-free score has to beat."""


def rank_correlation(early: Floats, final: Floats) -> tuple[float, float, float]:
    """Kendall's tau-b of `(N,)` and `(N,)` and its 95% interval over resampled candidates; 0 where all are equal."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(final), size=(RESAMPLES, len(final)))
    taus = [_tau_b(early[chosen], final[chosen]) for chosen in drawn]
    low, high = np.quantile(taus, [0.025, 0.975])
    return _tau_b(early, final), float(low), float(high)


def score_correlation(records: Sequence[TrialRecord], objectives: Sequence[ObjectiveLike]) -> dict[str, Any] | None:
    """How well the training-free scores of a study, and plain size, agree with what training made of its candidates.

    Args:
        records: all of the study; only those trained in full and scored count.
        objectives: of the study; candidates are ranked by the first one that is maximised.

    Returns:
        `objective`, `trials`, and for each of `predictors` its name, tau, and a 95% interval from low to high, scores
        before params_m and gflops; None without scores, or with fewer than 4 candidates.
    """
    goal = next((o.name for o in objectives if o.direction == "max"), None)
    names = sorted({n for r in records for n in r.values if n.startswith(SCORE)})
    wanted = [*names, *SIZES]
    rows = [r.values for r in records if r.state == "complete" and all(n in r.values for n in [goal, *wanted])]
    if goal is None or not names or len(rows) < FEWEST:
        return None
    final = np.array([row[goal] for row in rows])
    found = {n: rank_correlation(np.array([row[n] for row in rows]), final) for n in wanted}
    predictors = [{"name": n, "tau": tau, "low": low, "high": high} for n, (tau, low, high) in found.items()]
    return {"objective": goal, "trials": len(rows), "predictors": predictors}


def _tau_b(a: Floats, b: Floats) -> float:
    tau = float(kendalltau(a, b).statistic)
    return tau if np.isfinite(tau) else 0.0
