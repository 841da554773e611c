"""What the report of a study shows: gathered once, and then written as page, pictures and tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from nasdet.analysis.findings import findings
from nasdet.analysis.front_history import Curve, hypervolume_history, study_curves
from nasdet.analysis.importance import Importance, importance, method, too_few
from nasdet.analysis.plots.front_view import FrontView
from nasdet.analysis.plots.parallel_coordinates import Column, columns
from nasdet.search import StudyStore, summarise
from nasdet.space import SearchSpace
from nasdet.study_config import StudyConfig
from nasdet.trial import TrialRecord


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The same validation images for every detector shown, as JPEG."""

    annotated: Sequence[bytes] = ()
    """With the annotated boxes."""
    found: Mapping[str, Sequence[bytes]] = dataclasses.field(default_factory=dict)
    """By trial, with the boxes that it predicts."""
    note: str = ""
    """Why there are none, or not for all; may be empty."""


@dataclasses.dataclass(frozen=True)
class Report:
    """All that the report shows."""

    folder: Path
    """The study's."""
    config: StudyConfig
    space: SearchSpace
    records: Sequence[TrialRecord]
    view: FrontView
    curves: Sequence[Curve]
    """Hypervolume over what was spent, of the study and of its baseline; empty without a baseline."""
    importance: Sequence[Importance]
    method: str
    """How the importance is to be read, or why there is none."""
    columns: Sequence[Column]
    pictures: Pictures
    findings: Sequence[str]
    """What the study found, in sentences."""

    @classmethod
    def of(cls, store: StudyStore, pictures: Pictures) -> Report:
        """All that is known of a study that has a reference point."""
        summary, records, space = summarise(store), store.records(), store.space
        history = hypervolume_history(records, store.objectives, summary.reference_point)
        view, lacking = FrontView.of(summary, records, history), too_few(records)
        rows = [] if lacking else importance(records, space)
        shown = columns(view, space, rows)
        how = lacking or method(records)
        curves = study_curves(store)
        found = findings(records, space)
        return cls(store.dir, store.config, space, records, view, curves, rows, how, shown, pictures, found)
