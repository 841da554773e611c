"""Attention in windows equals an explicit computation over the tokens that exist."""

from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import Block
from torch import Tensor

from nasdet.models.backbones.windows import RelativeBias, WindowBlock, merge, padding_mask, partition, resized


def block_of(window: int, bias_grid: int = 0) -> WindowBlock:
    torch.manual_seed(0)
    block = WindowBlock(16, 2, 2.0, window=window, bias_grid=bias_grid).double()
    if block.rel_pos is not None:
        torch.nn.init.normal_(block.rel_pos.table)
    return block


def without_padding(block: WindowBlock, x: Tensor, window: int) -> Tensor:
    """Every window by itself, cut off at the border, with its biases looked up one by one."""
    result = torch.empty_like(x)
    for top in range(0, x.shape[1], window):
        for left in range(0, x.shape[2], window):
            part = x[:, top : top + window, left : left + window]
            bias = None if block.rel_pos is None else explicit_bias(block.rel_pos.table, *part.shape[1:3])
            done = Block.forward(block, part.flatten(1, 2), attn_mask=bias)
            result[:, top : top + window, left : left + window] = done.unflatten(1, part.shape[1:3])
    return result


def explicit_bias(table: Tensor, rows: int, columns: int) -> Tensor:
    middle = table.shape[-1] // 2
    places = [(y, x) for y in range(rows) for x in range(columns)]
    entries = [[table[0, :, middle + y - v, middle + x - u] for v, u in places] for y, x in places]
    return torch.stack([torch.stack(row) for row in entries]).permute(2, 0, 1)[None]


@pytest.mark.parametrize("bias_grid", [0, 5])
@pytest.mark.parametrize(("height", "width"), [(6, 9), (5, 7), (3, 4), (2, 1), (7, 3)])
def test_padding_changes_nothing(height: int, width: int, bias_grid: int) -> None:
    block = block_of(3, bias_grid)
    x = torch.randn(2, height, width, 16, dtype=torch.float64)
    torch.testing.assert_close(block(x), without_padding(block, x, 3))
    block(x).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())


@pytest.mark.parametrize("bias_grid", [0, 4])
def test_a_global_block_sees_the_whole_map(bias_grid: int) -> None:
    block = block_of(0, bias_grid)
    x = torch.randn(1, 4, 4, 16, dtype=torch.float64)
    torch.testing.assert_close(block(x), without_padding(block, x, 4))
    x.requires_grad_()
    block(x)[0, 0, 0].sum().backward()
    assert x.grad is not None and (x.grad[0].abs().sum(-1) > 0).all()


def test_a_windowed_block_sees_its_window_only() -> None:
    x = torch.randn(1, 4, 7, 16, dtype=torch.float64, requires_grad=True)
    block_of(3)(x)[0, 0, 6].sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(-1) > 0
    assert seen.nonzero().tolist() == [[0, 6], [1, 6], [2, 6]]


def test_offsets_are_interpolated_to_maps_of_other_sizes() -> None:
    bias = RelativeBias(1, 8)
    offsets = torch.arange(-7.0, 8.0)
    with torch.no_grad():
        bias.table.copy_(-(offsets[:, None] ** 2 + offsets[None, :] ** 2))
    own, larger = bias(8, 8, is_part=False), bias(16, 16, is_part=False)
    assert own.shape == (1, 1, 64, 64) and larger.shape == (1, 1, 256, 256)
    places = torch.cartesian_prod(torch.arange(16.0), torch.arange(16.0))
    distance = torch.cdist(places, places)
    correlation = torch.corrcoef(torch.stack([larger.detach().flatten(), -(distance**2).flatten()]))[0, 1]
    assert correlation > 0.999


def test_windows_go_together_again() -> None:
    x = torch.randn(2, 5, 7, 3)
    assert torch.equal(merge(partition(x, 3, 4), 5, 7, 3, 4), x)
    mask = padding_mask(5, 7, 3, 4, x)
    assert mask is not None and int(mask.sum()) == 35 and padding_mask(6, 8, 3, 4, x) is None


def test_a_table_of_the_right_size_stays_as_it_is() -> None:
    table = torch.randn(1, 4, 6, 6)
    assert resized(table, 6, 6) is table and resized(table, 4, 9).shape == (1, 4, 4, 9)
