"""Where studies are. One decision: a study is named by its folder, or by its name under the study root; without a name
the newest one is meant."""

from __future__ import annotations

import os
from pathlib import Path

from nasdet.errors import InputError, nearest
from nasdet.search.records.study_folder import CONFIG, StudyStore


def study_root() -> Path:
    """`$NASDET_HOME/studies`, else `./studies`."""
    home = os.environ.get("NASDET_HOME")
    return Path(home, "studies") if home else Path("studies")


def find_study(name: str | Path | None = None) -> Path:
    """The folder of a study.

    Raises:
        InputError: there is none of that name, or none at all.
    """
    root = study_root()
    studies = sorted(root.glob(f"*/{CONFIG}"), key=lambda p: p.stat().st_mtime)
    if name is None:
        if not studies:
            raise InputError("no study here yet", where=str(root), remedy="start one with nasdet search SPACE")
        return studies[-1].parent
    for folder in (Path(name), root / name):
        if (folder / CONFIG).is_file():
            return folder
    known = nearest(str(name), [p.parent.name for p in studies]) if studies else "there is none yet"
    raise InputError(f"no study {str(name)!r}", where=str(root), remedy=known)


def open_study(name: str | Path | None = None) -> StudyStore:
    """Open a study by folder or name; the newest one without a name."""
    return StudyStore.open(find_study(name))
