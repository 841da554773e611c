"""Imported as `nasdet.trainers`; the folder lies at the top level and is linked into the package."""

if __name__ == "trainers":
    raise ImportError("this is nasdet's own folder: import nasdet.trainers")
