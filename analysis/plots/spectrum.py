"""The eigenspectrum as a picture. Bars show channels on a logarithmic axis, because widths double from stage to stage
and a layer is compared with its own width, not with the widest one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nasdet.analysis.plots.style import FRONT, GREY, GRID, OTHER, QUIET, frame, new_figure, save
from nasdet.analysis.spectrum import ENERGIES, LayerSpectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = 6
"""Layers whose energy is drawn, spread evenly over the network."""


def spectrum_png(
    spectra: Sequence[LayerSpectrum], names: Sequence[str], path: Path, other: Sequence[LayerSpectrum] = ()
) -> None:
    """Draw the dimensions of every layer and the energy of some.

    Args:
        spectra: of the bundle.
        names: of the bundle, and of `other` where there is one.
        path: the file.
        other: of a second bundle.
    """
    title = " and ".join(names) + ": how much of its width each layer uses"
    figure = new_figure(13, max(4.5, 1.6 + 0.27 * len(spectra)), title)
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    _dimensions(left, spectra, names, {s.layer: s for s in other})
    _energy(right, spectra, {s.layer: s for s in other}, names)
    frame([left, right])
    save(figure, path)


def _dimensions(
    axes: Axes, spectra: Sequence[LayerSpectrum], names: Sequence[str], other: dict[str, LayerSpectrum]
) -> None:
    places = np.arange(len(spectra))
    axes.barh(places, [s.width for s in spectra], color="#eceef1", edgecolor=GREY, linewidth=0.6, label="width")
    for energy, colour in zip(ENERGIES[::-1], ("#8fb3d1", OTHER), strict=True):
        counts = [s.dimension(energy) for s in spectra]
        axes.barh(places, counts, color=colour, height=0.62, label=f"{energy:.0%} of the energy")
    for place, spectrum in zip(places, spectra, strict=True):
        text = f" {spectrum.dimension(ENERGIES[-1])} of {spectrum.width}, {spectrum.share:.0%}"
        axes.text(spectrum.width, float(place), text, va="center", fontsize=8, color=QUIET)
    both = [(place, other[s.layer]) for place, s in zip(places, spectra, strict=True) if s.layer in other]
    if both:
        counts = [s.dimension(ENERGIES[-1]) for _, s in both]
        label = f"{ENERGIES[-1]:.0%} in {names[-1]}"
        axes.plot(counts, [p for p, _ in both], "D", color=FRONT, markersize=5, markeredgecolor="white", label=label)
    axes.set_xscale("log", base=2)
    axes.set_xlim(max(1, min(s.dimension(ENERGIES[0]) for s in spectra) / 2), 2.6 * max(s.width for s in spectra))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_yticks(places, [s.layer for s in spectra], fontsize=8)
    axes.set_ylim(len(spectra) - 0.4, -0.6)
    axes.set_xlabel("channels")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, 1.0 + 0.75 / len(spectra) + 0.03), ncols=4, frameon=False, fontsize=8.5
    )


def _energy(
    axes: Axes, spectra: Sequence[LayerSpectrum], other: dict[str, LayerSpectrum], names: Sequence[str]
) -> None:
    from matplotlib import colormaps

    chosen = sorted({round(i) for i in np.linspace(0, len(spectra) - 1, min(CURVES, len(spectra)))})
    for number, index in enumerate(chosen):
        spectrum = spectra[index]
        colour = colormaps["viridis"](0.9 * number / max(1, len(chosen) - 1))
        axes.plot(*_curve(spectrum), color=colour, linewidth=1.7, label=spectrum.layer)
        if spectrum.layer in other:
            axes.plot(*_curve(other[spectrum.layer]), color=colour, linewidth=1.2, linestyle="--")
    if other:
        axes.plot([], [], color=QUIET, linestyle="--", label=f"dashed: {names[-1]}")
    for energy in ENERGIES:
        axes.axhline(energy, color=QUIET, linewidth=0.8, linestyle=":")
        axes.text(0.005, energy, f"{energy:.0%}", va="bottom", fontsize=8, color=QUIET)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("share of the width, largest eigenvalues first")
    axes.set_ylabel("share of the energy")
    axes.legend(loc="lower right", fontsize=8.5, frameon=True, edgecolor=GRID)


def _curve(spectrum: LayerSpectrum) -> tuple[np.ndarray, np.ndarray]:
    """Share of the width and of the energy, from (0, 0) to (1, 1)."""
    sums = np.concatenate([[0.0], np.cumsum(spectrum.eigenvalues)])
    return np.linspace(0, 1, len(sums)), sums / max(sums[-1], 1e-300)
