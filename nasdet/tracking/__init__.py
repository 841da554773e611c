"""A study's mirror in MLflow. Nothing here is needed to search, resume or export: the study folder is the truth."""

from nasdet.tracking.mirror import Front
from nasdet.tracking.mlflow_tracker import MlflowTracker
from nasdet.tracking.runs_file import mirror_state, note_mirror, parent_run_id, run_ids, study_key
from nasdet.tracking.sqlite_store import holds, relocate
from nasdet.tracking.store import attach, record_bundle
from nasdet.uris import (
    absolute_uri,
    check_storage,
    check_tracking_uri,
    default_uri,
    public_uri,
    sqlite_path,
)

__all__ = [
    "Front",
    "MlflowTracker",
    "absolute_uri",
    "attach",
    "check_storage",
    "check_tracking_uri",
    "default_uri",
    "holds",
    "mirror_state",
    "note_mirror",
    "parent_run_id",
    "public_uri",
    "record_bundle",
    "relocate",
    "run_ids",
    "sqlite_path",
    "study_key",
]
