"""Training-free scores: by hand on small maps and codes, invariances, and repeatable for real candidates."""

from __future__ import annotations

import math

import pytest
import torch

from nasdet.models.training_free_scores import SCORES, log_kernel, multi_scale_entropy, score
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.specs import DetectorSpec, NormSpec

UNIT = 0.5 * math.log(2 * math.pi * math.e)  # entropy of a Gaussian of variance 1


def spec(depth: int = 1, **changes: object) -> DetectorSpec:
    stages = tuple(StageSpec(depth=depth, width=16, stride=s) for s in (1, 2, 2))
    return DetectorSpec(backbone=StagedSpec(stages=stages), **changes)  # type: ignore[arg-type]


def test_entropy_of_known_variances() -> None:
    one = torch.tensor([-1.0, 1.0, -1.0, 1.0]).mul(math.sqrt(3 / 4)).view(1, 1, 2, 2)  # variance 1
    assert multi_scale_entropy([one]) == pytest.approx(6 * UNIT)
    assert multi_scale_entropy([math.e * one, one]) == pytest.approx(UNIT + 1 + 6 * UNIT)
    assert multi_scale_entropy([one, math.e * one]) == pytest.approx(UNIT + 6 * (UNIT + 1))
    assert multi_scale_entropy([one + 5]) == pytest.approx(multi_scale_entropy([one]))


def test_kernel_of_known_codes() -> None:
    codes = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])  # two of three units agree
    assert log_kernel([codes]) == pytest.approx(math.log(3 * 3 - 2 * 2))
    assert log_kernel([codes[:, :1], codes[:, 1:]]) == pytest.approx(log_kernel([codes]))
    assert log_kernel([1 - codes]) == pytest.approx(log_kernel([codes]))
    assert log_kernel([torch.ones(2, 3)]) == -math.inf


@pytest.mark.parametrize("name", SCORES)
def test_is_repeatable_and_leaves_the_random_numbers_alone(name: str) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = score(name, spec())
    assert math.isfinite(first) and score(name, spec()) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert SCORES[name](spec(), seed=1) != first  # type: ignore[call-arg]


def test_entropy_rises_with_depth_and_ignores_the_norm() -> None:
    assert score("entropy", spec(3)) > score("entropy", spec(2)) > score("entropy", spec(1))
    assert score("entropy", spec(norm=NormSpec(kind="bn"))) == score("entropy", spec(norm=NormSpec(kind="gn")))
