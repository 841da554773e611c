"""Start points of a derived search space at equal wall-clock: which input size, finest stride and width learn most in
the time, beside the one that `nasdet.driver.auto_space.derive` chooses.

    python benchmarks/start_points.py --json --data FOLDER --minutes 8 256:4:32 320:8:32 448:4:16

Each point SIZE:STRIDE:WIDTH is trained in full by `nasdet train` with one thread, pinned to a core of its own, as many
at a time as there are cores, and judged on the test split, or on val where there is none. Without points it is the
derived one alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.equal_time import Entry, train_side_by_side
from nasdet.data import Dataset, open_data
from nasdet.driver.auto_space.auto import auto_space, start_candidate
from nasdet.driver.auto_space.start_space import Start
from nasdet.models import count_costs


def derived(data: Dataset, minutes: float) -> str:
    """The point that is derived for a search of half the time, and a training of the time."""
    point = auto_space(data, time_limit=30 * minutes, training=60 * minutes).raw["points"][0]
    return f"{point['input.size']}:{point.get('neck.min_stride', 8)}:{point['backbone.width']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", nargs="*", metavar="SIZE:STRIDE:WIDTH")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--minutes", type=float, default=8.0, help="of each training")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    options = parser.parse_args()
    source = str(Path(options.data).resolve()) if Path(options.data).exists() else options.data
    data = open_data(source)
    points = list(dict.fromkeys([derived(data, options.minutes), *options.points]))
    split = "test" if "test" in data.info.splits else "val"
    gflops, entries = {}, []
    for point in points:
        size, stride, width = map(int, point.split(":"))
        spec, recipe = start_candidate(data, Start(size, stride, width, batch=options.batch))
        gflops[point] = count_costs(spec).gflops
        entries += [Entry(point, source, spec, recipe, seed, split) for seed in range(options.seeds)]
    with tempfile.TemporaryDirectory() as folder:
        rows = train_side_by_side(entries, Path(folder), options.minutes)
    rows = [{**row, "gflops": gflops[row["name"]]} for row in rows]
    result = {"data": source, "split": split, "minutes": options.minutes, "derived": points[0], "points": rows}
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
