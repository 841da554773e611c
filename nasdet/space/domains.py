"""The values that one parameter may take: `Choice`, `Integer` or `Real`.

A domain is a frozen value that is checked when it is made. Each maps to and from the unit interval, so that sampling
needs only `rng.random()` and works with Python's and NumPy's generators.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, Protocol

Json = Any
"""None, bool, int, float, str, or lists and string-keyed dicts of them."""


class Random(Protocol):
    """The part of a random generator that a domain uses; `random.Random` and `numpy.random.Generator` have it."""

    def random(self) -> float:
        """A float in [0, 1)."""
        ...


def canonical(value: Json) -> str:
    """A text that is equal for equal JSON values; those of 1, 1.0 and True differ."""
    return json.dumps(value, sort_keys=True)


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of a few listed values, in no order.

    Args:
        values: at least one JSON value, all different; lists are allowed.
    """

    values: tuple[Json, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(_plain(v) for v in self.values))
        if not self.values:
            raise ValueError("values is empty")
        texts = [canonical(v) for v in self.values]
        for i, text in enumerate(texts):
            if text in texts[:i]:
                raise ValueError(f"values holds {text} twice")

    def __len__(self) -> int:
        return len(self.values)

    def index(self, value: Json) -> int:
        """Position of `value`; ValueError if it is none of the values."""
        return [canonical(v) for v in self.values].index(canonical(_plain(value)))

    def contains(self, value: Json) -> bool:
        """Whether `value` is one of the values; tuples equal lists."""
        return canonical(_plain(value)) in {canonical(v) for v in self.values}

    def from_unit(self, unit: float) -> Json:
        """The value at `unit` in [0, 1)."""
        return self.values[min(int(unit * len(self.values)), len(self.values) - 1)]

    def to_unit(self, value: Json) -> float:
        """Centre of the part of [0, 1) that maps to `value`."""
        return (self.index(value) + 0.5) / len(self.values)

    def sample(self, rng: Random) -> Json:
        """A random value, all equally likely."""
        return self.from_unit(rng.random())

    def corners(self) -> tuple[Json, ...]:
        """The values to validate when a space is loaded: all of them."""
        return self.values


@dataclasses.dataclass(frozen=True)
class Integer:
    """A whole number: low, low + step, ... up to high (both included).

    Args:
        low: smallest value.
        high: largest value; low + a multiple of step.
        step: distance of neighbours; 1 with log.
        log: sample uniformly on the logarithm; needs low >= 1.
    """

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.step < 1:
            raise ValueError(f"step {self.step} is below 1")
        if (self.high - self.low) % self.step:
            raise ValueError(f"high {self.high} is not low {self.low} plus a multiple of step {self.step}")
        if self.log and self.low < 1:
            raise ValueError(f"log needs low of at least 1, got {self.low}")
        if self.log and self.step != 1:
            raise ValueError("log and step exclude each other")

    def __len__(self) -> int:
        return (self.high - self.low) // self.step + 1

    def contains(self, value: Json) -> bool:
        """Whether `value` is a whole number on the grid."""
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return self.low <= value <= self.high and (value - self.low) % self.step == 0

    def from_unit(self, unit: float) -> int:
        """The value at `unit` in [0, 1)."""
        if self.log:
            low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return min(max(round(math.exp(low + unit * (high - low))), self.low), self.high)
        return self.low + self.step * min(int(unit * len(self)), len(self) - 1)

    def to_unit(self, value: Json) -> float:
        """A point of [0, 1) that maps to `value`."""
        if self.log:
            low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return (math.log(value) - low) / (high - low)
        return float(((value - self.low) // self.step + 0.5) / len(self))

    def sample(self, rng: Random) -> int:
        """A random value, all equally likely, or uniform on the logarithm."""
        return self.from_unit(rng.random())

    def corners(self) -> tuple[Json, ...]:
        """The values to validate when a space is loaded: both ends."""
        return (self.low, self.high)


@dataclasses.dataclass(frozen=True)
class Real:
    """A real number from low to high.

    Args:
        low: smallest value, finite.
        high: largest value, finite.
        log: sample uniformly on the logarithm; needs low > 0.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("low and high must be finite")
        if self.low >= self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs low above 0, got {self.low}")

    def contains(self, value: Json) -> bool:
        """Whether `value` is a number from low to high."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high

    def from_unit(self, unit: float) -> float:
        """The value at `unit` in [0, 1)."""
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            value = math.exp(low + unit * (high - low))
        else:
            value = self.low + unit * (self.high - self.low)
        return min(max(value, self.low), self.high)

    def to_unit(self, value: Json) -> float:
        """The point of [0, 1] that maps to `value`."""
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return (math.log(value) - low) / (high - low)
        return float((value - self.low) / (self.high - self.low))

    def sample(self, rng: Random) -> float:
        """A random value, uniform or uniform on the logarithm."""
        return self.from_unit(rng.random())

    def corners(self) -> tuple[Json, ...]:
        """The values to validate when a space is loaded: both ends."""
        return (self.low, self.high)


Domain = Choice | Integer | Real


def _plain(value: Json) -> Json:
    """Lists for tuples, all the way down, so that a value equals its JSON round trip."""
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value
