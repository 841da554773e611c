from __future__ import annotations

import numpy as np
import pytest

from nasdet.search.freeze_thaw.gaussian_process import Inputs, Kernel, Posterior, fit


def places(count: int, rng: np.random.Generator, *, curves: bool = True) -> Inputs:
    who = np.arange(count) // 2
    features = rng.random((count, 3))[who]
    budget = rng.integers(0, 3, count) / 2.0 if curves else np.zeros(count)
    return Inputs(features, budget, who)


@pytest.mark.parametrize("curves", [True, False])
def test_gradients_are_those_of_the_covariance(curves: bool) -> None:
    rng = np.random.default_rng(0)
    at, kernel = places(12, rng, curves=curves), Kernel(np.array([0, 1, 1]), curves=curves)
    theta = kernel.mean + 0.2 * rng.standard_normal(len(kernel.mean))
    weights = rng.standard_normal((12, 12))
    weights += weights.T

    def weighted(shifted: np.ndarray) -> float:
        noisy = kernel.between(shifted, at, at) + np.diag(kernel.noise(shifted, at))
        return float((weights * noisy).sum())

    steps = 1e-5 * np.eye(len(theta))
    numeric = [(weighted(theta + s) - weighted(theta - s)) / 2e-5 for s in steps]
    assert kernel.gradients(theta, at, weights) == pytest.approx(np.array(numeric), abs=1e-7)


def test_further_noise_at_the_first_rung_falls_linearly_to_none() -> None:
    kernel = Kernel(np.zeros(1, dtype=np.int64), curves=True)
    theta = kernel.mean.copy()
    theta[-1] = 0.0  # logarithm of its variance
    first, middle, last = kernel.noise(theta, Inputs(np.zeros((3, 1)), np.array([0.0, 0.5, 1.0]), np.arange(3)))
    assert (first - last, middle - last) == (pytest.approx(1.0), pytest.approx(0.5))


def test_the_posterior_is_the_closed_form() -> None:
    rng = np.random.default_rng(1)
    at, kernel = places(10, rng), Kernel(np.arange(3), curves=True)
    values, new = rng.standard_normal(10), places(4, rng)
    posterior = Posterior(kernel, kernel.mean, at, values, centre=0.5, spread=2.0)
    noisy = kernel.between(kernel.mean, at, at) + np.diag(kernel.noise(kernel.mean, at))
    cross = kernel.between(kernel.mean, new, at)
    mean = 0.5 + 2.0 * cross @ np.linalg.inv(noisy) @ ((values - 0.5) / 2.0)
    own = np.diag(kernel.between(kernel.mean, new, new))
    variance = 4.0 * (own - np.diag(cross @ np.linalg.inv(noisy) @ cross.T))
    found = posterior.predict(new)
    assert found[0] == pytest.approx(mean)
    assert found[1] == pytest.approx(np.sqrt(np.maximum(variance, 0)), abs=1e-5)


def test_a_trial_with_a_learning_curve_is_predicted_better_than_a_new_candidate_with_equal_features() -> None:
    rng = np.random.default_rng(2)
    at, kernel = places(20, rng), Kernel(np.arange(3), curves=True)
    posterior = Posterior(kernel, kernel.mean, at, rng.standard_normal(20), centre=0.0, spread=1.0)
    final = np.ones(1)
    known = posterior.predict(Inputs(at.features[:1], final, at.trial[:1]))[1]
    stranger = posterior.predict(Inputs(at.features[:1], final, np.array([-1])))[1]
    assert known < stranger


def test_fit_finds_the_feature_that_matters() -> None:
    rng = np.random.default_rng(3)
    who = np.arange(60)
    at = Inputs(rng.random((60, 3)), np.zeros(60), who)
    values = np.sin(6 * at.features[:, 1])
    kernel = Kernel(np.arange(3), curves=False)
    theta = fit(kernel, at, (values - values.mean()) / values.std())
    assert theta[1] < theta[0] - 1 and theta[1] < theta[2] - 1
    posterior = Posterior(kernel, theta, at, values, centre=float(values.mean()), spread=float(values.std()))
    new = Inputs(rng.random((50, 3)), np.zeros(50), np.full(50, -1))
    assert np.abs(posterior.predict(new)[0] - np.sin(6 * new.features[:, 1])).max() < 0.1


def test_fantasies_keep_the_mean_and_reduce_the_deviation() -> None:
    rng = np.random.default_rng(4)
    at, kernel = places(12, rng), Kernel(np.arange(3), curves=True)
    posterior = Posterior(kernel, kernel.mean, at, rng.standard_normal(12), centre=0.0, spread=1.0)
    new = Inputs(rng.random((2, 3)), np.ones(2), np.array([50, 51]))
    mean, deviation = posterior.predict(new)
    later = posterior.fantasize(new)
    assert later.predict(new)[0] == pytest.approx(mean, abs=1e-3)
    assert (later.predict(new)[1] < 0.3 * deviation).all()
