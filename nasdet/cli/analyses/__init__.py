"""One module for each `nasdet analyze --what`: its function `run(request)` writes files and returns plain JSON
values, and `lines_of(result)` says the same in lines of text."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from nasdet.errors import InputError


@dataclasses.dataclass(frozen=True)
class Request:
    """What the command line asked for; None: left out."""

    target: str | None
    """A study or a bundle as given; None: the newest study."""
    data: str | None
    """Data set, where the analysis looks at images; None: the one that the bundle or study names."""
    split: str
    out: Path | None
    """Folder for the files; None: a folder of the analysis' name in the study or bundle."""
    other: Path | None
    """A second bundle to compare with (spectrum)."""
    init: str | None = None
    """Start to compare random initialisation with (convergence)."""
    epochs: int | None = None
    """Of the shortest training (convergence)."""
    schedules: str | None = None
    """Lengths as multiples of `epochs`, separated by commas (convergence)."""
    fractions: str | None = None
    """Per cent of the training images, separated by commas (convergence)."""
    seeds: int | None = None
    """Trainings of each kind (convergence)."""

    def folder(self, name: str, beside: Path) -> Path:
        """The folder for the files, made: `out`, or `name` in the study or bundle `beside`, or, where that is no
        folder, here."""
        out = self.out or (beside / name if beside.is_dir() else Path(f"{beside.name}-{name}"))
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write here ({error.strerror})", where=str(out), remedy="give --out") from None
        return out
