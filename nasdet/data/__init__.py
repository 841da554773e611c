"""Images and boxes: opening a data set, checking it, caching its pixels, making batches.

Batches come with PyTorch, which is not needed to open a data set and takes seconds and 700 MB: their names are imported
when they are first used.
"""

from typing import TYPE_CHECKING, Any

from nasdet.data.cache import CachedSplit, fit_image, fitted_size
from nasdet.data.dataset import Dataset, default_cache_root, open_data
from nasdet.data.images import UnreadableImage, read_image
from nasdet.data.records import DatasetInfo, Defect, ImageRecord, Target
from nasdet.space.tiling import Tiling

if TYPE_CHECKING:
    from nasdet.data.loader import Batch, TrainBatches, eval_loader, no_masks, train_loader

__all__ = [
    "Batch",
    "CachedSplit",
    "Dataset",
    "DatasetInfo",
    "Defect",
    "ImageRecord",
    "Target",
    "Tiling",
    "TrainBatches",
    "UnreadableImage",
    "default_cache_root",
    "eval_loader",
    "fit_image",
    "fitted_size",
    "no_masks",
    "open_data",
    "read_image",
    "train_loader",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nasdet.data import loader

    return getattr(loader, name)
