"""Whole studies: search, resume, train, inspect."""
