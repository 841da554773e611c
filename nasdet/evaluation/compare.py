"""The probability that one detector is better than another, given the spread over images and over seeds.

One decision: both detectors are evaluated on the same images, so that their difference is taken on the same resamples,
which is far less noisy than two separate intervals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, stdtr

from nasdet.evaluation.bootstrap import Floats

SURE = 0.95
"""Probability from which one detector is called better than another."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """The measurements of one figure of one detector."""

    value: float
    """As the search recorded it."""
    resamples: Floats
    """`(R,)` on resampled images, of the search's training or the mean of the repeated ones; empty: not known."""
    repeats: tuple[float, ...] = ()
    """Values of trainings repeated with further seeds. If there are any, they alone count: the search's own training
    was chosen for its high value."""

    @property
    def mean(self) -> float:
        """Best estimate."""
        return float(np.mean(self.repeats)) if self.repeats else self.value


def seed_spread(measured: Sequence[Measured]) -> tuple[float, int]:
    """Standard deviation of a figure over seeds, pooled over detectors, and its degrees of freedom (0: not known)."""
    several = [np.array(m.repeats) for m in measured if len(m.repeats) > 1]
    freedom = sum(len(values) - 1 for values in several)
    if not freedom:
        return 0.0, 0
    return float(np.sqrt(sum(((v - v.mean()) ** 2).sum() for v in several) / freedom)), freedom


def chance_better(a: Measured, b: Measured, spread: tuple[float, int] = (0.0, 0)) -> float | None:
    """Probability that `a` has the higher figure; None if neither resamples nor repeats are known.

    The difference of the means over its standard error: of the images, that of the difference on equal resamples; of
    the seeds, `spread` over the square root of the trainings. Normal, or Student's t with the spread's freedom.

    Args:
        a: one detector.
        b: another one on the same images.
        spread: as `seed_spread` of all detectors that are compared.
    """
    deviation, freedom = spread
    images = a.resamples - b.resamples if len(a.resamples) == len(b.resamples) else np.zeros(0)
    images = images[np.isfinite(images)]
    if not len(images) and not freedom:
        return None
    trainings = 1 / max(len(a.repeats), 1) + 1 / max(len(b.repeats), 1)
    variance = (float(images.var(ddof=1)) if len(images) > 1 else 0.0) + deviation**2 * trainings
    difference = a.mean - b.mean
    if variance == 0:
        return 0.5 + 0.5 * float(np.sign(difference))
    distance = difference / variance**0.5
    return float(stdtr(freedom, distance) if freedom else ndtr(distance))


def is_known(chance: float | None) -> bool:
    """Whether a probability of `chance_better` distinguishes the two, in either direction."""
    return chance is not None and max(chance, 1 - chance) >= SURE
