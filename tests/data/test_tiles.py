"""Where tiles lie, and which of two tiles a box belongs to."""

from __future__ import annotations

import numpy as np
import pytest

from nasdet.data.tiles import CUT, Tile, grid
from nasdet.space.tiling import Tiling


@pytest.mark.parametrize(("height", "width"), [(2000, 3000), (512, 513), (700, 100), (5000, 512), (10, 10)])
@pytest.mark.parametrize("overlap", [0, 100, 256])
def test_tiles_cover_the_image_with_the_overlap(height: int, width: int, overlap: int) -> None:
    tiles = grid(height, width, Tiling(512, overlap), (256, 256))
    seen = np.zeros((height, width), bool)
    for tile in tiles:
        seen[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] = True
        assert (tile.height, tile.width) == (min(512, height), min(512, width))
        assert (tile.rows, tile.columns, tile.image_height, tile.image_width) == (512, 512, height, width)
        assert all(strip == 0 or strip >= overlap for strip in tile.strips)
        inner = (tile.left > 0, tile.top > 0, tile.left + tile.width < width, tile.top + tile.height < height)
        assert overlap == 0 or tuple(strip > 0 for strip in tile.strips) == inner
    assert seen.all()
    assert len({(t.top, t.left) for t in tiles}) == len(tiles)


def test_tiles_have_the_aspect_of_the_canvas_and_one_scale() -> None:
    for tile in grid(1000, 5000, Tiling(640), (192, 256)):
        assert (tile.rows, tile.columns) == (480, 640)
        assert tile.fitted(192, 256) == (192, 256, pytest.approx(0.4))
    (small,) = grid(300, 100, Tiling(640), (192, 256))
    assert small.fitted(192, 256) == (120, 40, pytest.approx(0.4))


def test_an_overlap_of_more_than_half_is_refused() -> None:
    assert Tiling(100).shared == 25
    with pytest.raises(ValueError, match="overlap 51 is more than half of size 100"):
        Tiling(100, 51)


def tile(strips: tuple[int, int, int, int]) -> Tile:
    return Tile(0, 0, 100, 200, 100, 200, strips, 1000, 1000)


@pytest.mark.parametrize(
    ("box", "owned"),
    [
        ((170, 10, 200, 30), False),  # cut by the right edge, and smaller than the strip of 40
        ((150, 10, 200, 30), True),  # larger than the strip: no tile shows it whole
        ((165, 10, 196, 30), False),  # ends near the edge, nearer to it than to the neighbour's
        ((162, 10, 196, 30), True),  # as near to the neighbour's: that one drops it
        ((165, 10, 190, 30), True),  # whole, further from the edge than a box that is cut may end
        ((0, 10, 20, 30), True),  # at an edge of the image
        ((100, 80, 120, 100), False),  # cut by the lower edge
        ((100, 0, 120, 20), True),
    ],
)
def test_a_box_belongs_to_the_tile_that_shows_it_whole(box: tuple[int, ...], owned: bool) -> None:
    assert CUT * 40 == 5
    assert tile((0, 0, 40, 40)).owns(np.array([box], float)).tolist() == [owned]


def test_the_rule_is_the_same_on_every_side() -> None:
    boxes = np.array([[170, 10, 200, 30], [150, 10, 200, 30], [165, 10, 190, 30]], float)
    mirrored = boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [200, 0, 200, 0]
    expected = tile((0, 0, 40, 0)).owns(boxes)
    assert tile((40, 0, 0, 0)).owns(mirrored).tolist() == expected.tolist() == [False, True, True]
    assert tile((0, 0, 0, 0)).owns(boxes).all()


def test_objects_up_to_the_overlap_are_found_once_or_whole() -> None:
    rng = np.random.default_rng(0)
    tiles = grid(900, 1300, Tiling(256, 64), (128, 128))
    for _ in range(300):
        side = rng.uniform(5, 64, 2)
        x, y = rng.uniform(0, [1300 - side[0], 900 - side[1]])
        box = np.array([[x, y, x + side[0], y + side[1]]])
        found = []
        for one in tiles:
            low, high = one.extent[:2], one.extent[2:]
            seen = np.clip(box, [*low, *low], [*high, *high]) - [*low, *low]
            if (seen[:, 2:] > seen[:, :2]).all() and one.owns(seen).all():
                found.append(seen + np.array([*low, *low]))
        assert found
        np.testing.assert_allclose(np.concatenate(found), np.repeat(box, len(found), 0), atol=1e-3)
