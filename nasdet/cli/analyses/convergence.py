"""`nasdet analyze --what convergence`. Trainings lie in the folder of the analysis, so that the same command goes on
after an interruption, and one that asks for more adds to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nasdet.cli.analyses import Request
from nasdet.cli.options import parse_numbers
from nasdet.errors import InputError

STUDIES = "studies"
EPOCHS = 12
"""Of a 1x schedule."""


def run(request: Request) -> dict[str, Any]:
    """Train what is lacking; writes convergence.json, .csv and .png. Returns as `nasdet.driver.convergence.converge`,
    and `out` and `files`."""
    from nasdet.analysis.dataframes import write_csv
    from nasdet.analysis.plots.convergence import draw
    from nasdet.driver.convergence import Grid, converge
    from nasdet.driver.study.options import Interrupted, SearchOptions
    from nasdet.driver.training.request import read_source

    if request.init is None:
        remedy = "add --init FILE, a bundle, or timm:NAME"
        raise InputError("no start to compare random initialisation with", where="--what convergence", remedy=remedy)
    if request.target is None:
        raise InputError("no bundle, specification or system to train", where="--what convergence", remedy="name one")
    source = read_source(Path(request.target))
    data = request.data or source.card.get("data")
    if not data:
        raise InputError("no data set", where="--what convergence", remedy="add --data SRC")
    schedules = parse_numbers(request.schedules or "1,2,3,6", "--schedules")
    shares = tuple(percent / 100 for percent in parse_numbers(request.fractions or "100,30,10,1", "--fractions"))
    if min(schedules) <= 0:
        raise InputError("a schedule must be above 0", where="--schedules", remedy="write for example 1,2,3,6")
    if not 0 < min(shares) <= max(shares) <= 1:
        raise InputError("per cent are above 0 and at most 100", where="--fractions", remedy="write for example 100,10")
    out = request.folder("convergence", Path(request.target))
    grid = Grid(request.init, request.epochs or EPOCHS, schedules, shares, request.seeds or 1)
    try:
        result = converge(source, SearchOptions(data), grid, out / STUDIES)
    except Interrupted as interrupted:
        raise Interrupted("interrupted; finished trainings are kept. Go on with the same command") from interrupted
    draw(result["rows"], result["sentence"], out / "convergence.png")
    trainings = [{**row, "seed": seed, "ap": ap} for row in result["rows"] for seed, ap in enumerate(row["ap"])]
    write_csv([{k: v for k, v in training.items() if k != "mean"} for training in trainings], out / "convergence.csv")
    result |= {"out": str(out), "files": ["convergence.json", "convergence.png", "convergence.csv"]}
    (out / "convergence.json").write_text(json.dumps(result, indent=1))
    return result


def lines_of(result: dict[str, Any]) -> list[str]:
    """A table, then the sentence."""
    lines = [f"{'images':>7} {'epochs':>7}  {'start':<7} {'AP':>7}  seeds"]
    for row in result["rows"]:
        seeds = " ".join(f"{ap:.3f}" for ap in row["ap"])
        lines.append(f"{row['share']:>7.0%} {row['epochs']:>7}  {row['init']:<7} {row['mean']:>7.3f}  {seeds}")
    return [*lines, "", result["sentence"], "", f"{', '.join(result['files'])} -> {result['out']}"]
