"""Whether training from random initialisation pays on this data (the study of He, Girshick, Dollar 2019, "Rethinking
ImageNet Pre-training", figures 1 and 7). One decision: each length and seed is a study of its own, whose trials are the
starts and amounts of data, so that trainings run like any search's, are never repeated, and stand in MLflow."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from nasdet.driver.study.detector_search import start_search
from nasdet.driver.study.options import SearchOptions
from nasdet.driver.study.resume import resume_search
from nasdet.driver.training.request import Source
from nasdet.errors import NasdetError
from nasdet.models.checkpoint import locate
from nasdet.models.pretrained import RANDOM
from nasdet.search import StudyStore
from nasdet.search.records.study_folder import CONFIG
from nasdet.space import SearchSpace, parse_space
from nasdet.space.domains import canonical
from nasdet.space.parameter_paths import FROM_BUDGET, FROM_DATA
from nasdet.space.rules import RULES

TOLERANCE = 0.01
"""AP by which a start may be behind and still count as equal, where one seed tells nothing of the noise."""
INIT, SHARE = "recipe.init", "recipe.data_share"
Start = tuple[str, float]
"""Where weights come from, and the share of the images."""
Cell = tuple[str, int, float]
"""random or given, epochs, share of the images."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """What is compared.

    Attributes:
        init: checkpoint that training starts from beside random initialisation; as `nasdet train --init` takes it.
        epochs: of the shortest training, 1x.
        schedules: lengths as multiples of `epochs`.
        shares: of the training images, in 0..1.
        seeds: how many trainings of each.
    """

    init: str
    epochs: int
    schedules: tuple[float, ...]
    shares: tuple[float, ...]
    seeds: int

    @property
    def lengths(self) -> list[int]:
        """Epochs of each schedule, shortest first."""
        return sorted({max(1, round(x * self.epochs)) for x in self.schedules})


def converge(source: Source, options: SearchOptions, grid: Grid, folder: Path) -> dict[str, Any]:
    """Train what of the grid is not trained yet.

    Args:
        source: architecture and recipe; the recipe's own start and length are not used.
        options: data set and where to track, as for a search.
        grid: what is compared.
        folder: of the studies; a second call goes on where the first one was interrupted, and a larger grid trains
            only what it adds.

    Returns:
        Plain JSON values: init, data, `rows` (init, epochs, share, ap of each seed, mean), `sentence`, `pays`.

    Raises:
        InputError: as `start_search`, or the checkpoint is not found.
        Interrupted: by Ctrl-C.
        NasdetError: no training came to its end.
    """
    init = locate(grid.init)
    fixed = _fixed(source)
    found: dict[Cell, list[float]] = {}
    for epochs, seed in itertools.product(grid.lengths, range(grid.seeds)):
        wanted = [(start, share) for share in grid.shares for start in (RANDOM, init)]
        values = _trained(fixed, options, folder, wanted, epochs, seed)
        for start, share in wanted:
            if (start, share) in values:
                found.setdefault(("random" if start == RANDOM else "given", epochs, share), []).append(
                    values[start, share]
                )
    rows = [
        {"init": start, "epochs": epochs, "share": share, "ap": ap, "mean": float(np.mean(ap))}
        for (start, epochs, share), ap in sorted(found.items(), key=lambda item: (-item[0][2], item[0][:2]))
    ]
    if not rows:
        raise NasdetError(f"no training came to its end: {_why(folder)}")
    return {"init": grid.init, "data": options.data, "rows": rows, **judge(rows)}


def judge(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether random initialisation pays, in one sentence.

    It does if, on the largest share of the images, it comes at some length to the given start's best mean but for
    1 point of AP, or but for twice the standard error of the difference where several seeds tell it.

    Args:
        rows: init ("random" or "given"), epochs, share, ap (of each seed), mean.
    """
    shares = sorted({r["share"] for r in rows}, reverse=True)
    largest = {init: _of(rows, shares[0], init) for init in ("random", "given")}
    if not all(largest.values()):
        return {"pays": None, "sentence": "One of the two starts was never trained in full, so they do not compare."}
    random, best = largest["random"], _best(largest["given"])
    reached = [r for r in random if r["mean"] >= best["mean"] - _margin(r, best)]
    told = f"a given start's best AP {best['mean']:.3f} (after {best['epochs']} epochs)"
    if reached:
        first = reached[0]
        verdict = (
            f"pays: random initialisation reaches AP {first['mean']:.3f} after {first['epochs']} epochs, no less than "
            f"{told} within {_margin(first, best):.3f}"
        )
    else:
        last = _best(random)
        verdict = (
            f"does not pay up to {random[-1]['epochs']} epochs: random initialisation reaches AP {last['mean']:.3f}, "
            f"{best['mean'] - last['mean']:.3f} below {told}"
        )
    parts = [f"On {shares[0]:.0%} of the training images, training from scratch {verdict}"]
    for share in shares[1:]:
        random, given = _of(rows, share, "random"), _of(rows, share, "given")
        if random and given:
            gap = _best(random)["mean"] - _best(given)["mean"]
            parts.append(f"on {share:.0%} its best AP is {abs(gap):.3f} {'above' if gap >= 0 else 'below'}")
    return {"pays": bool(reached), "sentence": "; ".join(parts) + "."}


def _of(rows: list[dict[str, Any]], share: float, init: str) -> list[dict[str, Any]]:
    """Shortest first."""
    return sorted((r for r in rows if (r["share"], r["init"]) == (share, init)), key=lambda r: r["epochs"])


def _best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return max(rows, key=lambda r: r["mean"])


def _margin(a: dict[str, Any], b: dict[str, Any]) -> float:
    if min(len(a["ap"]), len(b["ap"])) < 2:
        return TOLERANCE
    return float(2 * np.sqrt(sum(np.var(r["ap"], ddof=1) / len(r["ap"]) for r in (a, b))))


def _trained(
    fixed: dict[str, Any], options: SearchOptions, folder: Path, wanted: list[Start], epochs: int, seed: int
) -> dict[Start, float]:
    """AP of each start, from the studies that are there and one more of what is lacking."""
    digest = hashlib.sha256(canonical([fixed, options.data]).encode()).hexdigest()[:8]
    name = f"convergence-{digest}"
    values: dict[Start, float] = {}
    for number in itertools.count(1):
        place = folder / f"{name}-{epochs}-epochs-seed-{seed}-{number}"
        is_new = not (place / CONFIG).is_file()
        lacking = [start for start in wanted if start not in values]
        if is_new and lacking:
            start_search(_space(name, fixed, lacking, epochs, seed), dataclasses.replace(options, study=place))
        elif is_new:
            return values
        store = StudyStore.open(place)
        if not store.config.finished:
            resume_search(store.dir)
        values |= {
            (str(r.params[INIT]), float(r.params[SHARE])): r.values["ap"]
            for r in StudyStore.open(place).records()
            if r.state == "complete"
        }
        if is_new:
            return values
    raise AssertionError


def _why(folder: Path) -> str:
    """What the newest failed training of the folder's studies failed of."""
    failed = [r for place in sorted(folder.glob(f"*/{CONFIG}")) for r in StudyStore.open(place.parent).records()]
    reasons = [r.reason for r in failed if r.state == "failed" and r.reason]
    return reasons[-1] if reasons else f"none was started; see the studies in {folder}"


def _fixed(source: Source) -> dict[str, Any]:
    """The detector and its recipe as a space's `fixed`."""
    recipe = source.named.recipe if source.named is not None else source.recipe
    fixed = {**source.spec.to_json(), "recipe": recipe.to_json()}
    for path in (*FROM_DATA, FROM_BUDGET, INIT, SHARE):
        part, key = path.split(".")
        fixed[part].pop(key, None)
    return fixed


def _space(name: str, fixed: dict[str, Any], starts: list[Start], epochs: int, seed: int) -> SearchSpace:
    """These starts, all trained in full."""
    raw = {
        "name": name,
        "description": "Random initialisation beside a given start, on parts of the data: nasdet analyze --what "
        "convergence.",
        "fixed": fixed,
        "space": {
            INIT: {"kind": "choice", "values": list(dict.fromkeys(start for start, _ in starts))},
            SHARE: {"kind": "choice", "values": list(dict.fromkeys(share for _, share in starts))},
        },
        "objectives": [{"name": "ap", "direction": "max"}],
        "budget": {"trials": len(starts), "epochs": epochs, "seed": seed},
        "sampler": {"kind": "random"},
        "scheduler": {"kind": "full"},
        "rules": {"off": list(RULES)},
        "points": [{INIT: start, SHARE: share} for start, share in starts],
    }
    return parse_space(raw, name=name)
