"""Images and boxes: opening a data set, checking it, caching its pixels, making batches."""

from nasdet.data.cache import CachedSplit, fit_image, fitted_size
from nasdet.data.dataset import Dataset, default_cache_root, open_data
from nasdet.data.images import UnreadableImage, read_image
from nasdet.data.loader import Batch, TrainBatches, eval_loader, no_masks, train_loader
from nasdet.data.records import DatasetInfo, Defect, ImageRecord, Target
from nasdet.data.tiles import Tiling

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
