"""Where the search spaces that come with nasdet lie: in a source tree or editable install, else in the data folder of
an installed wheel."""

from __future__ import annotations

import sys
from pathlib import Path

from nasdet.errors import InputError
from nasdet.files import exists

_FOLDERS = (Path(__file__).parents[2] / "search_spaces", Path(sys.prefix) / "share" / "nasdet" / "search_spaces")


def bundled_spaces() -> dict[str, Path]:
    """Name to file of every bundled search space."""
    for folder in _FOLDERS:
        if folder.is_dir():
            return {p.stem: p for p in sorted(folder.glob("*.yaml"))}
    return {}


def find_space(name: str | Path, *, beside: Path | None = None, where: str = "") -> Path:
    """The file of a path or bundled name.

    Args:
        name: a path, or a bundled name with or without `.yaml`.
        beside: folder that a relative path starts from; the working directory if None.
        where: place of the name, for the message.
    """
    path = Path(name).expanduser()
    local = path if beside is None else beside / path
    if exists(local):
        return local
    bundled = bundled_spaces()
    if path.name == str(name) and path.suffix in ("", ".yaml") and path.stem in bundled:
        return bundled[path.stem]
    raise InputError(
        f"no search space {str(name)!r}",
        where=where,
        remedy=f"give a YAML file or a bundled name: {', '.join(bundled) or 'none found'}",
    )
