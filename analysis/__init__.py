"""Imported as `nasdet.analysis`; the folder lies at the top level and is linked into the package."""

if __name__ == "analysis":
    raise ImportError("this is nasdet's own folder: import nasdet.analysis")
