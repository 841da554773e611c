"""`nasdet analyze BUNDLE --what spectrum`."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nasdet.cli.analyses import Request
from nasdet.errors import InputError

if TYPE_CHECKING:
    from nasdet.analysis.spectrum import LayerSpectrum
    from nasdet.analysis.widths import Suggestion
    from nasdet.cli.analyses.bundles import Target
    from nasdet.export import Bundle

SUGGESTED = "suggested"
"""Folder of the narrower specification, with the recipe beside it, in that of the results."""
BATCH = 16


def run(request: Request) -> dict[str, Any]:
    """Measure the spectra over the split, and write spectrum.json, spectrum.csv, eigenvalues.csv, spectrum.png and the
    specification of the widths suggested."""
    from nasdet.analysis.plots.spectrum import spectrum_png
    from nasdet.analysis.widths import suggest_widths
    from nasdet.cli.analyses.bundles import begin, finish, open_target
    from nasdet.export import read_bundle
    from nasdet.export.bundle import writing

    target = open_target(request, "spectrum")
    second = None if request.other is None else read_bundle(request.other)
    spectra = _spectra(target.bundle, target)
    other = [] if second is None else _spectra(second, target)
    suggestion = suggest_widths(target.bundle.spec, spectra)
    names = [target.bundle.path.name, *([] if second is None else [second.path.name])]
    with writing(target.out):
        begin(target)
        spectrum_png(spectra, names, target.out / "spectrum.png", other)
        files = _write_suggestion(suggestion, target)
    rows = _rows(spectra, other)
    report = {
        "images": len(target.dataset.images(target.split)),
        "with": None if second is None else str(second.path),
        "layers": rows,
        "suggestion": _told_widths(suggestion, target.out / SUGGESTED / "spec.json" if files else None),
    }
    values = [
        {"bundle": name, "layer": s.layer, "number": number, "eigenvalue": float(v), "uncentred": float(u)}
        for name, own in zip(("first", "second"), (spectra, other), strict=True)
        for s in own
        for number, (v, u) in enumerate(zip(s.eigenvalues, s.uncentred, strict=True), start=1)
    ]
    return finish(report, target, {"spectrum.csv": rows, "eigenvalues.csv": values}, ["spectrum.png", *files])


def lines_of(result: dict[str, Any]) -> list[str]:
    """One line per layer, and the widths suggested."""
    second = result["with"]
    lines = [f"{result['bundle']} on {result['images']} images of {result['split']} of {result['data']}", ""]
    wide = max(len(row["layer"]) for row in result["layers"]) + 2
    lines.append(
        f"{'layer':<{wide}}{'width':>6}{'90%':>6}{'99%':>6}{'used':>7}" + ("   99% in " + second if second else "")
    )
    for row in result["layers"]:
        figures = f"{row['width']:>6}{row['dim90']:>6}{row['dim99']:>6}{row['share']:>7.0%}"
        compared = row.get("other_dim99")
        lines.append(
            f"{row['layer']:<{wide}}{figures}" + (f"{compared:>9} of {row['other_width']}" if compared else "")
        )
    return [*lines, "", *result["suggestion"]["words"], "", f"{', '.join(result['files'])} -> {result['out']}"]


def _spectra(bundle: Bundle, target: Target) -> list[LayerSpectrum]:
    from nasdet.analysis.spectrum import measure_spectrum
    from nasdet.data import eval_loader
    from nasdet.driver.inference.evaluate import best_device
    from nasdet.driver.resources import cpu_count
    from nasdet.torch_settings import torch_threads

    info, image = target.dataset.info, bundle.spec.input
    if info.channels != image.channels:
        what = f"images have {info.channels} channels, the bundle takes {image.channels}"
        raise InputError(what, where=str(bundle.path), remedy="give --data with such images")
    pixels = target.dataset.cached(target.split, image.height, image.width)
    loader = eval_loader(pixels, batch_size=BATCH, rank=0, world=1, fill=image.mean)
    detector = bundle.load_detector(str(best_device()))
    bar = click.progressbar(loader, label=bundle.path.name, file=sys.stderr, length=-(-len(pixels) // BATCH))
    with torch_threads(cpu_count()), bar as batches:
        return measure_spectrum(detector, (batch.images for batch in batches))


def _rows(spectra: list[LayerSpectrum], other: list[LayerSpectrum]) -> list[dict[str, Any]]:
    """A row per layer; `other_` columns where a second bundle was given."""
    compared = {s.layer: _figures(s, "other_") for s in other}
    empty = dict.fromkeys(next(iter(compared.values()))) if compared else {}
    return [
        {"layer": s.layer, "positions": s.positions, **_figures(s), **(compared.get(s.layer, empty))} for s in spectra
    ]


def _figures(spectrum: LayerSpectrum, prefix: str = "") -> dict[str, Any]:
    figures = {
        "width": spectrum.width,
        "dim90": spectrum.dimension(0.90),
        "dim99": spectrum.dimension(0.99),
        "share": spectrum.share,
        "uncentred_dim90": spectrum.dimension(0.90, centred=False),
        "uncentred_dim99": spectrum.dimension(0.99, centred=False),
    }
    return {prefix + name: value for name, value in figures.items()}


def _write_suggestion(suggestion: Suggestion, target: Target) -> list[str]:
    """Write the narrower specification and the bundle's recipe; nothing where nothing can be saved."""
    if suggestion.suggested_params >= suggestion.params:
        return []
    folder = target.out / SUGGESTED
    folder.mkdir(exist_ok=True)
    (folder / "spec.json").write_text(json.dumps(suggestion.spec.to_json(), indent=1) + "\n")
    (folder / "recipe.json").write_text(json.dumps(target.bundle.recipe.to_json(), indent=1) + "\n")
    return [f"{SUGGESTED}/spec.json", f"{SUGGESTED}/recipe.json"]


def _told_widths(suggestion: Suggestion, path: Path | None) -> dict[str, Any]:
    """The suggestion as JSON values, and in words."""
    widths = [
        {"field": w.field, "width": w.width, "dimension": w.dimension, "suggested": w.suggested}
        for w in suggestion.widths
    ]
    saved = 1 - suggestion.suggested_params / suggestion.params
    narrower = [f"{w.field} {w.width} -> {w.suggested}" for w in suggestion.widths if w.suggested < w.width]
    full = [w.field for w in suggestion.widths if w.is_full]
    words = []
    if not widths:
        words.append("This kind of backbone and neck has no width per stage to suggest.")
    elif path is None:
        words.append("Every stage needs its width for 99% of the energy: there is nothing to save.")
    else:
        words.append(f"Narrower by the 99% dimension: {', '.join(narrower)}.")
        words.append(
            f"{suggestion.suggested_params / 1e6:.3f} instead of {suggestion.params / 1e6:.3f} million parameters "
            f"({saved:.0%} less). Train it: nasdet train {shlex.quote(str(path))} --data SRC --out DIR"
        )
    if full:
        words.append(f"Nearly full, wider may help: {', '.join(full)}.")
    return {
        "widths": widths,
        "params": suggestion.params,
        "suggested_params": suggestion.suggested_params,
        "saved_share": saved,
        "spec": None if path is None else str(path),
        "words": words,
    }
