"""Freeze-thaw as a sampler for any Optuna study."""
