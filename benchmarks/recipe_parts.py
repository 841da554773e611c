"""Parts of a recipe at equal wall-clock: what a change of the derived start point's recipe gains on each data set.

    python benchmarks/recipe_parts.py --json --data FOLDER FOLDER --minutes 5 --seeds 3 \\
        optimizer=muon optimizer=muon,base_lr=0.002 augment.mosaic=0.5

Each part is a list of KEY=VALUE under `recipe`, trained in full with one thread on a core of its own beside the recipe
without it, from the space that is derived for a search and a training of the time, and judged on val, so that the test
split stays unseen. Printed are the AP of each, and for each part and data set the mean difference.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.equal_time import Entry, train_side_by_side
from nasdet.data import open_data
from nasdet.driver.auto_space.auto import auto_space
from nasdet.space import build_specs, parse_space
from nasdet.space.specs import Recipe

BASE = "base"


def entries_of(source: str, minutes: float, parts: list[str], seeds: int) -> list[Entry]:
    """The base and each part, seed by seed."""
    data = open_data(source)
    space = parse_space(auto_space(data, time_limit=30 * minutes, training=60 * minutes).raw)
    spec, recipe = build_specs(space, space.sample(random.Random(0), space.points[0]), data.info).candidate
    recipes = {BASE: recipe, **{part: changed(recipe, part) for part in parts}}
    return [Entry(name, source, spec, own, seed) for seed in range(seeds) for name, own in recipes.items()]


def changed(recipe: Recipe, part: str) -> Recipe:
    """The recipe with `KEY=VALUE,...`, where dots lead into parts of it."""
    raw = recipe.to_json()
    for change in part.split(","):
        path, _, value = change.partition("=")
        *parents, key = path.split(".")
        own: dict[str, Any] = raw
        for parent in parents:
            own = own[parent]
        try:
            own[key] = json.loads(value)
        except ValueError:
            own[key] = value
    return Recipe.model_validate(raw)


def gains(rows: list[dict[str, Any]], parts: list[str]) -> dict[str, dict[str, float]]:
    """Mean difference in AP from the base, for each part and data set."""
    by = {(row["name"], row["source"], row["seed"]): row["ap"] for row in rows}
    sources = sorted({row["source"] for row in rows})
    seeds = sorted({row["seed"] for row in rows})
    return {
        part: {s: statistics.mean(by[part, s, seed] - by[BASE, s, seed] for seed in seeds) for s in sources}
        for part in parts
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", metavar="KEY=VALUE,...")
    parser.add_argument("--data", nargs="+", default=["digits"])
    parser.add_argument("--minutes", type=float, default=5.0, help="of each training")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    options = parser.parse_args()
    sources = [str(Path(s).resolve()) if Path(s).exists() else s for s in options.data]
    entries = [e for s in sources for e in entries_of(s, options.minutes, options.parts, options.seeds)]
    with tempfile.TemporaryDirectory() as folder:
        rows = train_side_by_side(entries, Path(folder), options.minutes)
    result = {"minutes": options.minutes, "trainings": rows, "gains": gains(rows, options.parts)}
    print(json.dumps(result["gains"], indent=1), file=sys.stderr)
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
