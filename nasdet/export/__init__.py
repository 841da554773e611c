"""From a study to a folder that can be trained, evaluated and deployed: pick a trial, write its bundle."""

from nasdet.export.bundle import Bundle, is_bundle, read_bundle, write_bundle
from nasdet.export.pick_trial import pick

__all__ = ["Bundle", "is_bundle", "pick", "read_bundle", "write_bundle"]
