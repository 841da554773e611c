"""The summary of a study on disk, as `nasdet search --json` prints it (DESIGN: public interface). One decision: it is
computed from the stored records alone, so that a running, a finished and a copied study give the same answer."""

from __future__ import annotations

import dataclasses

from nasdet.search.records.baseline import find_baseline, spent_epochs
from nasdet.search.records.study_folder import StudyStore
from nasdet.search.records.trust import Trust
from nasdet.study_summary import BaselineFigures, Summary
from nasdet.tracking import run_ids
from nasdet.uris import default_uri, public_uri


def summarise(store: StudyStore) -> Summary:
    """Counts, reference point, hypervolume and front of a study, with what its folder says of its baseline, its
    repeated trainings and its runs in MLflow."""
    runs, records = run_ids(store.dir), store.records()
    summary, trust = Summary.of(records, store.space, store.config), Trust(store.dir, records, store.objectives)
    return dataclasses.replace(
        summary,
        front=tuple(
            dataclasses.replace(m, mlflow_run_id=runs.get(m.trial, ""), repeats=trust.repeated(m.trial))
            for m in summary.front
        ),
        indistinct=trust.indistinct(),
        baseline=_baseline(store),
        folder=str(store.dir),
        tracking_uri=public_uri(store.config.tracking_uri or default_uri(store.dir)),
    )


def _baseline(store: StudyStore) -> BaselineFigures | None:
    """The baseline's part of the summary; None if it was not started."""
    if (baseline := find_baseline(store.dir)) is None:
        return None
    summary = Summary.of(baseline.records(), baseline.space, baseline.config)
    return BaselineFigures(
        sampler="random",
        study=summary.study,
        folder=str(baseline.dir),
        hypervolume=summary.hypervolume,
        wall_seconds=summary.wall_seconds,
        trials=summary.trials,
        epochs=spent_epochs(baseline),
        search_epochs=spent_epochs(store),
    )
