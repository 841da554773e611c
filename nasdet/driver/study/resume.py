"""Go on with a study, be it of detectors or of a function."""

from __future__ import annotations

from nasdet.driver.study.detector_search import resume_detector_search
from nasdet.driver.study.function_search import Function, resume_function_search
from nasdet.driver.study.options import TERMINAL, Display
from nasdet.search import StudyStore
from nasdet.study_summary import Summary


def resume_search(
    store: StudyStore,
    repeat_front: int = 0,
    baseline: bool = False,
    display: Display = TERMINAL,
    function: Function | None = None,
) -> Summary:
    """Go on with a study that was interrupted. A finished one only gets written what MLflow lacks of it, unless more is
    asked for than before.

    Args:
        store: the study.
        repeat_front: as in `SearchOptions`; fewer seeds than asked for before take nothing away.
        baseline: as in `SearchOptions`; False takes nothing away.
        display: how it is shown.
        function: of the study of a function; None: the one whose name the study keeps.

    Raises:
        InputError: the data, the function, the address or the resources do not work any more. A tracking server that
            does not answer is no reason: the search goes on and says so.
        Interrupted: by Ctrl-C.
        NasdetError: every trial fails.
    """
    if store.config.objective:
        return resume_function_search(store, repeat_front, baseline, display, function)
    return resume_detector_search(store, repeat_front, baseline, display)
