"""The search engine: ask for jobs, tell results, in process and without Ray."""

from nasdet.search.engine import Candidate, Engine, Finished, Job
from nasdet.search.limits import bounds
from nasdet.search.locate import find_study, open_study, study_root
from nasdet.search.store import StudyStore
from nasdet.search.summary import summarise

__all__ = [
    "Candidate",
    "Engine",
    "Finished",
    "Job",
    "StudyStore",
    "bounds",
    "find_study",
    "open_study",
    "study_root",
    "summarise",
]
