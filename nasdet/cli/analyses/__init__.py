"""One module for each `nasdet analyze --what`. One decision: a module has a function `run(request)` that writes its
files and returns plain JSON values, and `told(result)` that puts them into lines for people."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    target: str | None
    """A study or a bundle as given; None: the newest study."""
    data: str | None
    """Data set, where the analysis looks at images; None: the one that the bundle or study names."""
    split: str
    out: Path | None
    """Folder for the files; None: a folder of the analysis' name in the study or bundle."""
    other: Path | None
    """A second bundle to compare with."""
