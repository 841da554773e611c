"""nasdet: search, from random initialisation, for the detector that fits your images and your device.

Importing it imports nothing else: each name below is imported when it is first used, so that `import nasdet` takes no
time and needs neither PyTorch nor Ray.

Example:
    >>> import nasdet
    >>> study = nasdet.run_search("quick", "digits", time_limit="10m")
    >>> detector = study.export("knee", "best")
    >>> detector.predict("image.png").plot()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasdet.api.detector import Detector, load
    from nasdet.api.search import run_search
    from nasdet.api.study import Study, load_study
    from nasdet.api.training import train
    from nasdet.driver.inference.detections import Detection, Detections
    from nasdet.errors import InputError, NasdetError

__version__ = "0.1.0"
__all__ = [
    "Detection",
    "Detections",
    "Detector",
    "InputError",
    "NasdetError",
    "Study",
    "load",
    "load_study",
    "run_search",
    "train",
]

_MODULES = {
    "Detection": "nasdet.driver.inference.detections",
    "Detections": "nasdet.driver.inference.detections",
    "Detector": "nasdet.api.detector",
    "InputError": "nasdet.errors",
    "NasdetError": "nasdet.errors",
    "Study": "nasdet.api.study",
    "load": "nasdet.api.detector",
    "load_study": "nasdet.api.study",
    "run_search": "nasdet.api.search",
    "train": "nasdet.api.training",
}
"""Name -> module that it is imported from."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'nasdet' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
