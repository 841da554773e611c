"""What the analyses of a bundle share: opening it with its data, and writing results. These lie in a folder with the
name of the analysis inside the bundle, unless --out names another, and replace those of an earlier run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasdet.cli.analyses import Request
from nasdet.errors import InputError

if TYPE_CHECKING:
    from nasdet.data import Dataset
    from nasdet.export import Bundle


@dataclasses.dataclass(frozen=True)
class Target:
    """A bundle, the data to look at, and where results go."""

    bundle: Bundle
    dataset: Dataset
    split: str
    out: Path
    name: str
    """Of the analysis and of its JSON file."""


def open_target(request: Request, name: str) -> Target:
    """Open the bundle and data that a request names.

    Raises:
        InputError: no bundle was given or it cannot be read, it names no data, or there is no such split.
    """
    from nasdet.driver.export_trial import bundle_data
    from nasdet.export import read_bundle

    if request.target is None:
        raise InputError("no bundle given", where=f"--what {name}", remedy=f"nasdet analyze BUNDLE --what {name}")
    bundle = read_bundle(request.target)
    dataset = bundle_data(bundle, request.data)
    dataset.images(request.split)
    return Target(bundle, dataset, request.split, request.out or bundle.path / name, name)


def begin(target: Target) -> None:
    """Make the folder of the results, without the files that an earlier run says it left there."""
    target.out.mkdir(parents=True, exist_ok=True)
    known = target.out / f"{target.name}.json"
    if not known.is_file():
        return
    try:
        earlier = json.loads(known.read_text())["files"]
    except (ValueError, KeyError, TypeError):
        raise InputError(
            "is not what an analysis left", where=str(known), remedy="name another folder by --out"
        ) from None
    for file in earlier:
        if (target.out / file).resolve().is_relative_to(target.out.resolve()):
            (target.out / file).unlink(missing_ok=True)


def finish(
    report: dict[str, Any], target: Target, tables: dict[str, list[dict[str, Any]]], pictures: list[str]
) -> dict[str, Any]:
    """Write the tables as CSV and everything as JSON beside the pictures; the report with what it is about."""
    from nasdet.analysis.dataframes import write_csv
    from nasdet.export.bundle import writing

    tables = {name: rows for name, rows in tables.items() if rows}
    about = {"bundle": str(target.bundle.path), "data": target.dataset.info.source, "split": target.split}
    name = f"{target.name}.json"
    files = [name, *pictures, *tables]
    result = {**about, **report, "out": str(target.out), "files": files}
    with writing(target.out):
        for file, rows in tables.items():
            write_csv(rows, target.out / file)
        (target.out / name).write_text(json.dumps(result, indent=1))
    return result
