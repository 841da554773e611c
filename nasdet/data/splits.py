"""Splitting images that come without split files.

One decision: the order is a hash of seed and content, so that names, order and machine do not matter, and an image that
is added moves few others to another split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

SHARES = (0.70, 0.15, 0.15)
"""Of train, val and test."""


def split_by_content(
    groups: Sequence[str], seed: int, shares: Sequence[float], names: Sequence[str] = ("train", "val", "test")
) -> list[str] | None:
    """Name the split of each image; images of equal group get the same.

    Args:
        groups: one key an image: its group, or the hash of its content.
        seed: another seed gives another split.
        shares: of the images, one for each name; the first two names get at least one group.
        names: of the splits.

    Returns:
        One name an image, or None if there are fewer than two groups.
    """
    order = sorted(set(groups), key=lambda g: hashlib.sha256(f"{seed}:{g}".encode()).digest())
    if len(order) < 2:
        return None
    sizes = dict.fromkeys(order, 0)
    for group in groups:
        sizes[group] += 1
    # Groups in the order of their hashes; a group belongs to the split in whose share of the images its middle lies.
    chosen: dict[str, str] = {}
    done = 0
    for group in order:
        middle = (done + sizes[group] / 2) / len(groups)
        chosen[group] = _slot(middle, shares, names)
        done += sizes[group]
    _fill_empty(chosen, order, names)
    return [chosen[group] for group in groups]


def _slot(middle: float, shares: Sequence[float], names: Sequence[str]) -> str:
    end = 0.0
    for name, share in zip(names, shares, strict=True):
        end += share / sum(shares)
        if middle < end:
            return name
    return names[-1]


def _fill_empty(chosen: dict[str, str], order: list[str], names: Sequence[str]) -> None:
    """Give the first two splits a group each, from the split that has most."""
    for name, group in ((names[0], order[0]), (names[1], order[-1])):
        if name not in chosen.values():
            chosen[group] = name


def shares_text(shares: Sequence[float]) -> str:
    """70/15/15."""
    return "/".join(f"{round(100 * s / sum(shares))}" for s in shares)
