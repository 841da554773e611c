"""A Gaussian process over (candidate, log budget): learning curves of similar candidates inform each other (after
freeze-thaw, Swersky et al. 2014).

One decision: the gradient of the posterior density is written out by hand. A fit to a hundred values then takes tens of
milliseconds and needs only NumPy and SciPy.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

JITTER = 1e-6
"""Added to the variance of the noise, for values of variance 1, so that the covariance can be factorised."""
MAX_STEPS = 60
"""Steps of L-BFGS at most."""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Where values were, or are to be, observed.

    Attributes:
        features: `(N, C)` of the candidates.
        budget: `(N,)` logarithm of the budget, scaled to 0 at the first and 1 at the last rung.
        trial: `(N,)` number of the trial, -1 for a candidate that was never observed.
    """

    features: Floats
    budget: Floats
    trial: Ints

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: slice | Ints) -> Inputs:
        return Inputs(self.features[index], self.budget[index], self.trial[index])

    def __add__(self, other: Inputs) -> Inputs:
        return Inputs(
            np.concatenate([self.features, other.features]),
            np.concatenate([self.budget, other.budget]),
            np.concatenate([self.trial, other.trial]),
        )


class _Parameters(NamedTuple):
    """The kernel's parameters after the length scales of features, exponentials taken: variances of the four terms and
    of the noise, length scales of the budget. Those with a default exist only where budgets differ."""

    noise: float
    candidate: float
    interaction: float = 0.0
    own_curve: float = 0.0
    trend: float = 0.0
    interaction_length: float = 1.0
    own_curve_length: float = 1.0
    trend_length: float = 1.0
    early_noise: float = 0.0


class Kernel:
    """Covariance of two values, for candidates x at log budgets t:

        candidate Matern52(x) + interaction Matern52(x) RBF(t) + own_curve [same trial] RBF(t) + trend RBF(t)

    The terms are what a candidate is worth at any budget, how similar candidates' curves rise alike, what is particular
    to one trial's curve, and how all curves rise. Noise comes on top, with further noise at the first rung that falls
    linearly to none at the last.

    `theta` holds logarithms: the length scale of each group of features, then `_Parameters` in its order. Each has a
    normal prior.

    Args:
        groups: `(C,)` which length scale each feature uses.
        curves: whether budgets differ; else only the first term and the noise exist.
    """

    def __init__(self, groups: Ints, *, curves: bool) -> None:
        self.groups, self.curves = groups, curves
        self.scales = int(groups.max()) + 1
        wide = 0.5 * np.log(self.scales)  # distances grow with the number of features
        means = [-0.7 + wide] * self.scales + [-7.0, 0.0]
        deviations = [1.0] * self.scales + [1.5, 1.0]
        if curves:
            means += [-1.5, -3.0, -0.5, -0.5, -0.5, -0.5, -7.0]
            deviations += [1.0, 1.0, 1.0, 0.7, 0.7, 0.7, 1.5]
        self.mean, self.deviation = np.array(means), np.array(deviations)

    def between(self, theta: Floats, a: Inputs, b: Inputs) -> Floats:
        """Covariance `(len(a), len(b))` without noise."""
        p = self._unpack(theta)
        covariance = _matern_in_place(self._squared_distances(theta, a, b))
        if not self.curves:
            return np.asarray(p.candidate * covariance)
        # The RBFs depend on budgets only: where all of `a` have the same one, a single row of them serves every row.
        rows = a[:1] if len(a) and (a.budget == a.budget[0]).all() else a
        interaction, own_curve, trend = (np.exp(-0.5 * d) for d in self._squared_budget_distances(p, rows, b))
        covariance *= p.candidate + p.interaction * interaction
        covariance += p.trend * trend
        if (a.trial >= 0).any():
            same = (a.trial[:, None] == b.trial[None, :]) & (a.trial[:, None] >= 0)
            covariance += p.own_curve * same * own_curve
        return covariance

    def noise(self, theta: Floats, at: Inputs) -> Floats:
        """Variance `(N,)` of the noise."""
        level = np.exp(theta[self.scales]) + JITTER
        return np.asarray(level + np.exp(theta[-1]) * self._earliness(at) if self.curves else np.full(len(at), level))

    def noisy(self, theta: Floats, at: Inputs) -> Floats:
        """Covariance `(N, N)` of observations, noise included."""
        covariance = self.between(theta, at, at)
        covariance[np.diag_indices(len(at))] += self.noise(theta, at)
        return covariance

    def prior(self, theta: Floats) -> float:
        """Variance of one value without noise."""
        return float(np.exp(theta[self.scales :])[1:5].sum())  # the variances of the four terms

    def gradients(self, theta: Floats, at: Inputs, weights: Floats) -> Floats:
        """Sum over all pairs of `weights` `(N, N)`, symmetric, times the derivative of `noisy` by each parameter.

        Parameters are logarithms, so the derivative by that of a factor p is p times the derivative by p: for a
        variance the term itself, for a length scale l of an RBF in d^2 = (t - t')^2 / l^2 the term times d^2.
        """
        p, k = self._unpack(theta), self.scales
        gradient = np.zeros(len(theta))
        matern, slope = _matern_and_slope(self._squared_distances(theta, at, at))
        squared_budgets = self._squared_budget_distances(p, at, at) if self.curves else []
        rbf = [np.exp(-0.5 * d) for d in squared_budgets]
        # Length scales of features: d(cov)/d(log l_c) = factor * matern'(d^2) * d(d^2)/d(log l_c), and with features a
        # divided by their scales d(d^2)/d(log l_c) = -2 (a_i - a_j)_c^2. With W the weights times the first two parts,
        # sum_ij W_ij (a_i - a_j)^2 = 2 (sum_i rowsum_i a_i^2 - a' W a), for W is symmetric: no (N, N, C) array is
        # needed.
        factor = p.candidate + p.interaction * rbf[0] if self.curves else p.candidate
        by_distance = weights * slope * factor
        scaled = at.features / np.exp(theta[self.groups])
        rows = by_distance.sum(axis=1)
        per_feature = 2 * (rows @ scaled**2 - np.einsum("ic,ic->c", scaled, by_distance @ scaled))
        gradient[:k] = -2 * np.bincount(self.groups, per_feature, k)
        # Variances of the noise and of the first term.
        gradient[k] = p.noise * np.trace(weights)
        gradient[k + 1] = p.candidate * np.sum(weights * matern)
        if self.curves:
            # Variances (k + 2 ..) and budget lengths (k + 5 ..) of the other terms, and the early noise.
            same = at.trial[:, None] == at.trial[None, :]
            terms = [p.interaction * matern * rbf[0], p.own_curve * same * rbf[1], p.trend * rbf[2]]
            for i, (term, squared) in enumerate(zip(terms, squared_budgets, strict=True)):
                gradient[k + 2 + i] = np.sum(weights * term)
                gradient[k + 5 + i] = np.sum(weights * term * squared)
            gradient[-1] = p.early_noise * np.sum(np.diag(weights) * self._earliness(at))
        return gradient

    def _unpack(self, theta: Floats) -> _Parameters:
        return _Parameters(*np.exp(theta[self.scales :]))

    def _earliness(self, at: Inputs) -> Floats:
        """`(N,)` 1 at the first rung, falling to 0 at the last."""
        return np.asarray(np.maximum(1.0 - at.budget, 0.0))

    def _squared_distances(self, theta: Floats, a: Inputs, b: Inputs) -> Floats:
        """`(len(a), len(b))` between features divided by their length scales, as |a|^2 + |b|^2 - 2ab."""
        scale = np.exp(theta[self.groups])
        left, right = a.features / scale, b.features / scale
        squared = (-2 * left) @ right.T
        squared += (left**2).sum(axis=1)[:, None]
        squared += (right**2).sum(axis=1)[None, :]
        return np.asarray(np.maximum(squared, 0.0, out=squared))  # rounding may make them negative

    def _squared_budget_distances(self, p: _Parameters, a: Inputs, b: Inputs) -> list[Floats]:
        """`(len(a), len(b))` divided by the length scale of each of the three RBFs."""
        squared = (a.budget[:, None] - b.budget[None, :]) ** 2
        return [squared / length**2 for length in (p.interaction_length, p.own_curve_length, p.trend_length)]


def _matern_in_place(squared: Floats) -> Floats:
    """Matern-5/2, (1 + r + r^2 / 3) exp(-r) with r = sqrt(5 d^2), written over the squared distances d^2: the
    covariance of thousands of candidates is too large to copy."""
    r = np.sqrt(5 * squared)
    decay = np.exp(-r)
    r += 1
    squared *= 5 / 3
    squared += r
    squared *= decay
    return squared


def _matern_and_slope(squared: Floats) -> tuple[Floats, Floats]:
    """Matern-5/2 and its derivative by the squared distances, -5/6 (1 + r) exp(-r)."""
    r = np.sqrt(5 * squared)
    slope = -5 / 6 * (1 + r) * np.exp(-r)
    return _matern_in_place(squared), np.asarray(slope)


def fit(kernel: Kernel, at: Inputs, values: Floats, start: Floats | None = None) -> Floats:
    """The kernel's parameters of largest posterior density for standardised `values` `(N,)`."""

    def loss(theta: Floats) -> tuple[float, Floats]:
        """Minus the log posterior density, and its gradient."""
        try:
            lower = cholesky(kernel.noisy(theta, at), lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros(len(theta))  # not positive definite: the line search steps back
        # Minus log likelihood: y' K^-1 y / 2 + log det K / 2, where half the log determinant is the sum of the logs of
        # the Cholesky factor's diagonal. Plus minus the log of the normal priors.
        alpha = cho_solve((lower, True), values, check_finite=False)
        off = (theta - kernel.mean) / kernel.deviation
        value = 0.5 * values @ alpha + np.log(np.diag(lower)).sum() + 0.5 * off @ off
        # Its derivative by a parameter p: tr((K^-1 - alpha alpha') dK/dp) / 2, plus the prior's.
        inverse = cho_solve((lower, True), np.eye(len(at)), check_finite=False)
        slope = kernel.gradients(theta, at, 0.5 * (inverse - np.outer(alpha, alpha)))
        return float(value), slope + off / kernel.deviation

    limits = list(zip(kernel.mean - 5 * kernel.deviation, kernel.mean + 5 * kernel.deviation, strict=True))
    begin = kernel.mean if start is None else start
    result = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": MAX_STEPS})
    return np.asarray(result.x, dtype=np.float64)


class Posterior:
    """The Gaussian process given observations and the kernel's parameters; values are standardised inside.

    Args:
        kernel: the covariance.
        theta: its parameters.
        at: `N` places.
        values: `(N,)` in any unit.
        centre: subtracted from the values.
        spread: divides the values after that.

    Attributes:
        fantasies: `(R,)` the values that `fantasize` assumed.
    """

    def __init__(
        self, kernel: Kernel, theta: Floats, at: Inputs, values: Floats, *, centre: float, spread: float
    ) -> None:
        self.kernel, self.theta, self.at, self.values = kernel, theta, at, values
        self.centre, self.spread = centre, spread
        self.fantasies: Floats = np.empty(0)
        # With the Cholesky factor L of the noisy covariance K and alpha = K^-1 y, the posterior at new places with
        # cross covariance k has mean k alpha and variance prior - |L^-1 k'|^2.
        self._lower = cholesky(kernel.noisy(theta, at), lower=True, check_finite=False)
        self._alpha = cho_solve((self._lower, True), (values - centre) / spread, check_finite=False)

    def predict(self, at: Inputs) -> tuple[Floats, Floats]:
        """Mean and standard deviation `(M,)` of the noiseless values."""
        cross = self.kernel.between(self.theta, at, self.at)
        mean = cross @ self._alpha
        half = solve_triangular(self._lower, cross.T, lower=True, check_finite=False, overwrite_b=True)
        variance = np.maximum(self.kernel.prior(self.theta) - np.einsum("nm,nm->m", half, half), 1e-12)
        return mean * self.spread + self.centre, np.sqrt(variance) * self.spread

    def fantasize(self, at: Inputs) -> Self:
        """The posterior as if the predicted means had been observed at these places (the "Kriging believer")."""
        fantasies, _ = self.predict(at)
        values = np.concatenate([self.values, fantasies])
        posterior = type(self)(self.kernel, self.theta, self.at + at, values, centre=self.centre, spread=self.spread)
        posterior.fantasies = fantasies
        return posterior
