"""nasdet: search, from random initialisation, for the detector that fits your images and your device.

One decision: importing it imports nothing else; what `load_study` needs is imported when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from nasdet.analysis.dataframes import StudyFrames

__version__ = "0.1.0"
__all__ = ["load_study"]


def load_study(study: str | Path | None = None) -> StudyFrames:
    """A study's trials and front as pandas DataFrames.

    Args:
        study: a study folder, or its name under the study root; the newest study if left out.

    Raises:
        nasdet.errors.InputError: there is no such study, or it is damaged.
    """
    from nasdet.analysis.dataframes import read_frames

    return read_frames(study)
