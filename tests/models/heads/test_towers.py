"""Towers of RetinaNet and FCOS."""

from __future__ import annotations

import pytest
import torch

from nasdet.errors import InputError
from nasdet.models.heads.towers import SharedTower, prior_bias
from nasdet.models.layers import Layers
from nasdet.space.heads import FcosSpec
from nasdet.space.specs import DetectorSpec, NormSpec


def _branch(norm: str, channels: tuple[int, ...] = (8, 8, 8), **fields: object) -> SharedTower:
    spec = FcosSpec(classes=2, width=16, depth=2, **fields)
    return SharedTower(channels, 3, 5, spec, Layers.of(DetectorSpec(norm=NormSpec(kind=norm))))


@pytest.mark.parametrize(("norm", "copies"), [("bn", 3), ("syncbn", 3), ("gn", 1), ("ln", 1), ("none", 1)])
def test_only_norms_with_statistics_are_kept_per_level(norm: str, copies: int) -> None:
    assert len(_branch(norm).norms) == copies
    assert len(_branch(norm, tower_norm=False).norms) == 1


@pytest.mark.parametrize("tower_norm", [False, True])
def test_places_of_a_cell_lie_side_by_side(tower_norm: bool) -> None:
    torch.manual_seed(0)
    branch = _branch("gn", tower_norm=tower_norm)
    levels = [torch.randn(2, 8, 4, 6), torch.randn(2, 8, 2, 3), torch.randn(2, 8, 1, 2)]
    out = branch(levels)
    assert out.shape == (2, 3 * (24 + 6 + 2), 5)
    alone = branch.predict(branch.norms[0][1](branch.convs[1](branch.norms[0][0](branch.convs[0](levels[1])))))
    torch.testing.assert_close(out[1, 3 * 24 + 3 * (1 * 3 + 2) + 1], alone[1, 5:10, 1, 2])


def test_starts_at_the_bias_for_every_place() -> None:
    branch = _branch("gn", tower_norm=False)
    branch.start([1.0, 2.0, 3.0, 4.0, 0.0])
    out = branch([torch.randn(1, 8, 4, 4)])
    torch.testing.assert_close(out, torch.tensor([1.0, 2, 3, 4, 0]).expand_as(out), atol=0.3, rtol=0)
    assert float(branch.convs[0].weight.detach().std()) == pytest.approx(0.01 * (256 / 8) ** 0.5, rel=0.1)
    assert torch.tensor(prior_bias(2)).sigmoid().tolist() == pytest.approx([0.01, 0.01])


def test_levels_of_different_width_are_refused() -> None:
    with pytest.raises(InputError, match=r"levels of \[8, 16\] channels"):
        _branch("gn", (8, 16))
