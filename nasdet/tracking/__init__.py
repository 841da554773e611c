"""A copy of a study in MLflow. Nothing here is needed to search, resume or export: the study folder is what counts."""

from nasdet.tracking.mlflow_client import attach, quiet_mlflow, record_bundle
from nasdet.tracking.mlflow_runs import Front, StudyInfo
from nasdet.tracking.mlflow_tracker import MlflowTracker
from nasdet.tracking.runs_file import mirror_state, note_mirror, parent_run_id, run_ids, study_key
from nasdet.tracking.sqlite_store import holds, relocate

__all__ = [
    "Front",
    "MlflowTracker",
    "StudyInfo",
    "attach",
    "holds",
    "mirror_state",
    "note_mirror",
    "parent_run_id",
    "quiet_mlflow",
    "record_bundle",
    "relocate",
    "run_ids",
    "study_key",
]
