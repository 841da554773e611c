"""Freeze-thaw search: a model of learning curves decides which trial trains next (Swersky et al. 2014)."""
