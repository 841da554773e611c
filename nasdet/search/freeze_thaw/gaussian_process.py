"""A Gaussian process over (candidate, log budget): learning curves that share what is known of similar candidates
(after freeze-thaw, Swersky et al. 2014). One decision: the gradient of the posterior density is written out, so that a
fit on a hundred values takes tens of milliseconds and needs nothing but NumPy and SciPy."""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

JITTER = 1e-6
"""Added to the noise's variance, of values with variance 1."""
STEPS = 60
"""Steps of L-BFGS at most."""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Where values were, or are to be, observed.

    Attributes:
        features: `(N, C)` of the candidates.
        budget: `(N,)` logarithm of the budget, scaled to 0 at the first and 1 at the last rung.
        who: `(N,)` equal for the same candidate, -1 for one that was never observed.
    """

    features: Floats
    budget: Floats
    who: Ints

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: slice | Ints) -> Inputs:
        return Inputs(self.features[index], self.budget[index], self.who[index])

    def __add__(self, other: Inputs) -> Inputs:
        return Inputs(
            np.concatenate([self.features, other.features]),
            np.concatenate([self.budget, other.budget]),
            np.concatenate([self.who, other.who]),
        )


class Kernel:
    """Matern-5/2(x) + Matern-5/2(x) RBF(t) + same candidate RBF(t) + RBF(t), noise apart.

    The parameters are logarithms: a length scale per group of features; then of the noise and of the Matern term the
    variance; then, where budgets differ, the variances of the other three terms, the length scales of their RBFs, and
    the variance of further noise at the first rung, which falls linearly to none at the last. Each has a normal prior.

    Args:
        groups: `(C,)` length scale of each feature.
        curves: whether budgets differ.
    """

    def __init__(self, groups: Ints, *, curves: bool) -> None:
        self.groups, self.curves = groups, curves
        self.scales = int(groups.max()) + 1
        wide = 0.5 * np.log(self.scales)
        means = [-0.7 + wide] * self.scales + [-7.0, 0.0]
        deviations = [1.0] * self.scales + [1.5, 1.0]
        if curves:
            means += [-1.5, -3.0, -0.5, -0.5, -0.5, -0.5, -7.0]
            deviations += [1.0, 1.0, 1.0, 0.7, 0.7, 0.7, 1.5]
        self.mean, self.deviation = np.array(means), np.array(deviations)

    def between(self, theta: Floats, a: Inputs, b: Inputs) -> Floats:
        """Covariance `(len(a), len(b))` without noise."""
        matern = _matern(self._squared(theta, a, b))
        s = np.exp(theta[self.scales :])
        if not self.curves:
            return np.asarray(s[1] * matern)
        alike = a[:1] if len(a) and (a.budget == a.budget[0]).all() else a  # one row serves all
        r1, r2, r3 = (np.exp(-0.5 * d) for d in self._budgets(s, alike, b))
        matern *= s[1] + s[2] * r1
        matern += s[4] * r3
        if (a.who >= 0).any():
            same = (a.who[:, None] == b.who[None, :]) & (a.who[:, None] >= 0)
            matern += s[3] * same * r2
        return matern

    def noise(self, theta: Floats, at: Inputs) -> Floats:
        """Variance `(N,)` of the noise."""
        level = np.exp(theta[self.scales]) + JITTER
        return np.asarray(level + np.exp(theta[-1]) * self._early(at) if self.curves else np.full(len(at), level))

    def _early(self, at: Inputs) -> Floats:
        return np.asarray(np.maximum(1.0 - at.budget, 0.0))

    def prior(self, theta: Floats) -> float:
        """Variance of one value without noise."""
        s = np.exp(theta[self.scales :])
        return float(s[1:5].sum())

    def gradients(self, theta: Floats, at: Inputs, weights: Floats) -> Floats:
        """Sum of `weights` times the derivative of the covariance of `at` (noise included) by each parameter."""
        squared = self._squared(theta, at, at)
        slope = _slope(squared)
        matern = _matern(squared)
        s = np.exp(theta[self.scales :])
        found = np.zeros(len(theta))
        budgets = self._budgets(s, at, at) if self.curves else []
        rbf = [np.exp(-0.5 * d) for d in budgets]
        factor = s[1] + s[2] * rbf[0] if self.curves else s[1]
        by_distance = weights * slope * factor
        scaled = at.features / np.exp(theta[self.groups])
        # sum_ij W_ij (a_i - a_j)^2 per feature, from the row sums of the symmetric W
        rows = by_distance.sum(axis=1)
        per_feature = 2 * (rows @ scaled**2 - np.einsum("ic,ic->c", scaled, by_distance @ scaled))
        found[: self.scales] = -2 * np.bincount(self.groups, per_feature, self.scales)
        k = self.scales
        found[k] = s[0] * np.trace(weights)
        found[k + 1] = s[1] * np.sum(weights * matern)
        if self.curves:
            same = at.who[:, None] == at.who[None, :]
            terms = [s[2] * matern * rbf[0], s[3] * same * rbf[1], s[4] * rbf[2]]
            for i, (term, squared) in enumerate(zip(terms, budgets, strict=True)):
                found[k + 2 + i] = np.sum(weights * term)
                found[k + 5 + i] = np.sum(weights * term * squared)
            found[-1] = s[8] * np.sum(np.diag(weights) * self._early(at))
        return found

    def _squared(self, theta: Floats, a: Inputs, b: Inputs) -> Floats:
        scale = np.exp(theta[self.groups])
        left, right = a.features / scale, b.features / scale
        squared = (-2 * left) @ right.T
        squared += (left**2).sum(axis=1)[:, None]
        squared += (right**2).sum(axis=1)[None, :]
        return np.asarray(np.maximum(squared, 0.0, out=squared))

    def _budgets(self, s: Floats, a: Inputs, b: Inputs) -> list[Floats]:
        squared = (a.budget[:, None] - b.budget[None, :]) ** 2
        return [squared / s[i] ** 2 for i in (5, 6, 7)]


def _matern(squared: Floats) -> Floats:
    """Matern-5/2 at squared scaled distances, in their place."""
    r = np.sqrt(5 * squared)
    decay = np.exp(-r)
    r += 1
    squared *= 5 / 3
    squared += r
    squared *= decay
    return squared


def _slope(squared: Floats) -> Floats:
    """Its derivative by them."""
    r = np.sqrt(5 * squared)
    return np.asarray(-5 / 6 * (1 + r) * np.exp(-r))


def fit(kernel: Kernel, at: Inputs, values: Floats, start: Floats | None = None) -> Floats:
    """The kernel's parameters of largest posterior density for standardised `values` `(N,)`."""

    def loss(theta: Floats) -> tuple[float, Floats]:
        covariance = kernel.between(theta, at, at)
        covariance[np.diag_indices(len(at))] += kernel.noise(theta, at)
        try:
            lower = cholesky(covariance, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros(len(theta))
        alpha = cho_solve((lower, True), values, check_finite=False)
        inverse = cho_solve((lower, True), np.eye(len(at)), check_finite=False)
        off = (theta - kernel.mean) / kernel.deviation
        value = 0.5 * values @ alpha + np.log(np.diag(lower)).sum() + 0.5 * off @ off
        slope = kernel.gradients(theta, at, 0.5 * (inverse - np.outer(alpha, alpha)))
        return float(value), slope + off / kernel.deviation

    limits = list(zip(kernel.mean - 5 * kernel.deviation, kernel.mean + 5 * kernel.deviation, strict=True))
    begin = kernel.mean if start is None else start
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": STEPS})
    return np.asarray(found.x, dtype=np.float64)


class Process:
    """The posterior for given kernel parameters; values are standardised inside.

    Args:
        kernel: the covariance.
        theta: its parameters.
        at: `N` places.
        values: `(N,)` in any unit.
        centre: subtracted from values.
        spread: divides values after that.
    """

    def __init__(
        self, kernel: Kernel, theta: Floats, at: Inputs, values: Floats, *, centre: float, spread: float
    ) -> None:
        self.kernel, self.theta, self.at, self.values = kernel, theta, at, values
        self.centre, self.spread = centre, spread
        covariance = kernel.between(theta, at, at)
        covariance[np.diag_indices(len(at))] += kernel.noise(theta, at)
        self._lower = cholesky(covariance, lower=True, check_finite=False)
        self._alpha = cho_solve((self._lower, True), (values - centre) / spread, check_finite=False)

    def predict(self, at: Inputs) -> tuple[Floats, Floats]:
        """Mean and standard deviation `(M,)` of the noiseless values."""
        cross = self.kernel.between(self.theta, at, self.at)
        mean = cross @ self._alpha
        half = solve_triangular(self._lower, cross.T, lower=True, check_finite=False, overwrite_b=True)
        variance = np.maximum(self.kernel.prior(self.theta) - np.einsum("nm,nm->m", half, half), 1e-12)
        return mean * self.spread + self.centre, np.sqrt(variance) * self.spread

    def believe(self, at: Inputs) -> Self:
        """The posterior as if what is predicted at these places had been observed there."""
        mean, _ = self.predict(at)
        values = np.concatenate([self.values, mean])
        return type(self)(self.kernel, self.theta, self.at + at, values, centre=self.centre, spread=self.spread)
