"""Accuracy over the length of training from two starts, one panel for each amount of data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nasdet.analysis.plots.style import FRONT, INK, OTHER, QUIET, frame, new_figure, save

COLOURS = {"random": FRONT, "given": OTHER}
LABELS = {"random": "random initialisation", "given": "given start"}


def draw(rows: Sequence[dict[str, Any]], sentence: str, path: Path) -> None:
    """AP of each seed as a point, means joined by lines.

    Args:
        rows: init ("random" or "given"), epochs, share, ap (of each seed), mean.
        sentence: below the title.
        path: of the PNG.
    """
    shares = sorted({row["share"] for row in rows}, reverse=True)
    figure = new_figure(1.2 + 3.6 * len(shares), 4.4, "Does training from scratch pay?", dpi=150)
    panels = figure.subplots(1, len(shares), squeeze=False, sharey=True)[0]
    for axes, share in zip(panels, shares, strict=True):
        axes.set_title(f"{share:.0%} of the training images", fontsize=10, color=INK, loc="left")
        axes.set_xlabel("epochs")
        for init in COLOURS:
            _curve(axes, [row for row in rows if (row["share"], row["init"]) == (share, init)], init)
    panels[0].set_ylim(0, 1.05 * max(max(row["ap"]) for row in rows) or 1)
    panels[0].set_ylabel("AP on the validation split")
    panels[0].legend(loc="lower right", frameon=False, fontsize=8.5)
    figure.supxlabel(sentence, fontsize=8.5, color=QUIET, wrap=True)
    frame(panels)
    save(figure, path)


def _curve(axes: Any, rows: Sequence[dict[str, Any]], init: str) -> None:
    rows = sorted(rows, key=lambda row: row["epochs"])
    epochs = [row["epochs"] for row in rows]
    axes.plot(epochs, [row["mean"] for row in rows], color=COLOURS[init], marker="o", label=LABELS[init], zorder=3)
    for row in rows:
        axes.scatter([row["epochs"]] * len(row["ap"]), row["ap"], s=10, color=COLOURS[init], alpha=0.5)
    axes.set_xticks(epochs)
