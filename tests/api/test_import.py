"""`import nasdet` is light, and every name it offers is there."""

from __future__ import annotations

import inspect
import subprocess
import sys

import nasdet

HEAVY = ("torch", "ray", "mlflow", "pandas", "numpy", "optuna", "pydantic", "matplotlib", "nasdet.api")


def test_importing_nasdet_imports_nothing_heavy() -> None:
    code = f"import sys, nasdet; dir(nasdet); print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_is_documented() -> None:
    for name in nasdet.__all__:
        value = getattr(nasdet, name)
        assert value.__doc__ and name in dir(nasdet)
        if inspect.isfunction(value):
            hints = inspect.signature(value)
            assert hints.return_annotation is not inspect.Parameter.empty
            assert all(p.annotation is not inspect.Parameter.empty for p in hints.parameters.values())
            for section in ("Args:", "Raises:", "Example:"):
                assert section in value.__doc__, (name, section)
    assert not hasattr(nasdet, "no_such_name")
