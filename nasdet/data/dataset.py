"""`open_data`: from a name, folder or YAML to a checked data set.

A data set holds records and file paths only, so that it opens in a second in every worker; pixels come from the cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasdet.data.annotation_checks import check_image
from nasdet.data.box_conventions import check_conventions
from nasdet.data.cache import CACHE_LIMIT, CachedSplit
from nasdet.data.data_yaml import DataFile, DataSource, group_finder, resolve_source
from nasdet.data.defects import BAD_FILES, DefectLog
from nasdet.data.detect_layout import read_layout
from nasdet.data.digits import digits_folder
from nasdet.data.image_scan import Scan, scan_images
from nasdet.data.progress import ReadingProgress
from nasdet.data.records import SPLITS, DatasetInfo, ImageRecord, RawData, RawImage
from nasdet.data.splits import shares_text, split_by_content
from nasdet.data.tile_records import cut_records
from nasdet.errors import InputError
from nasdet.space.tiling import Tiling

DIGITS = "digits"
_VAL_SHARE = 0.15


class Dataset:
    """A checked data set: the records of every split, and the facts about the whole (`info`)."""

    def __init__(self, info: DatasetInfo, records: dict[str, list[ImageRecord]], cache_root: Path, alpha: bool) -> None:
        self.info = info
        self._records = records
        self._cache_root = cache_root
        self._alpha = alpha
        self._cut: dict[tuple[str, int, int], list[ImageRecord]] = {}

    def images(self, split: str) -> list[ImageRecord]:
        """The images of a split in stored order."""
        if split not in self._records:
            raise InputError(
                f"no split {split!r}", where=self.info.source, remedy="the splits are " + ", ".join(self._records)
            )
        return self._records[split]

    def coco(self, split: str) -> dict[str, Any]:
        """COCO ground truth of a split: original pixels, `category_id` = label + 1, crowds `iscrowd` = 1.

        Objects with a mask have a `segmentation`: polygons, or compressed runs.
        """
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for record in self.images(split):
            size = {"width": record.width, "height": record.height}
            images.append({"id": record.id, "file_name": record.path.name, **size})
            masks = record.masks or (None,) * len(record.boxes)
            columns = (record.boxes, record.labels, record.crowd, record.area, masks)
            for box, label, crowd, area, mask in zip(*columns, strict=True):
                x1, y1, x2, y2 = map(float, box)
                annotation: dict[str, Any] = {
                    "id": len(annotations) + 1,
                    "image_id": record.id,
                    "category_id": int(label) + 1,
                }
                annotation |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": float(area), "iscrowd": int(crowd)}
                if mask is not None:
                    annotation["segmentation"] = mask.to_coco(record.height, record.width)
                annotations.append(annotation)
        categories = [{"id": label + 1, "name": name} for label, name in enumerate(self.info.classes)]
        return {"info": {}, "images": images, "annotations": annotations, "categories": categories}

    def cached(self, split: str, height: int, width: int, *, cache_limit: int = CACHE_LIMIT) -> CachedSplit:
        """The split's images, or their tiles, decoded and fitted into `height` x `width`, from a memory map that all
        processes share.

        Args:
            split: train, val or test.
            height: rows of the canvas.
            width: columns of the canvas.
            cache_limit: bytes all arrays of this cache may take; a larger split is decoded on demand.
        """
        return CachedSplit(
            self.info, split, self._for_canvas(split, height, width), height, width,
            folder=self._cache_root / "pixels", cache_limit=cache_limit, alpha=self._alpha,
        )  # fmt: skip

    def _for_canvas(self, split: str, height: int, width: int) -> list[ImageRecord]:
        """The images of a split, or their tiles for a canvas of `height` x `width`."""
        tiling = self.info.tiling
        if tiling is None:
            return self.images(split)
        key = (split, *tiling.sides(height, width))
        if key not in self._cut:
            own = cut_records(self.images(split), tiling, (height, width), sample=split == "train")
            self._cut[key] = own
        return self._cut[key]

    def tiled(self, tiling: Tiling) -> Dataset:
        """The same images, cut into tiles; `info.splits` counts those of a square canvas."""
        own = f"{self.info.fingerprint.partition('-')[0]}-{tiling.size}-{tiling.shared}-{tiling.empty:g}"
        info = dataclasses.replace(self.info, tiling=tiling, aspect=1.0, fingerprint=own)
        cut = Dataset(info, self._records, self._cache_root, self._alpha)
        counts = {split: len(cut._for_canvas(split, tiling.size, tiling.size)) for split in self._records}
        cut.info = dataclasses.replace(info, splits=counts)
        return cut

    def tiles_per_image(self, height: int, width: int) -> float:
        """Mean number of tiles that a validation image is cut into for a canvas of `height` x `width`; 1 where images
        are seen whole."""
        return len(self._for_canvas("val", height, width)) / len(self.images("val"))

    def in_class_order(self, classes: Sequence[str]) -> Dataset:
        """The same data set with labels in this order of its classes; itself if it has other classes."""
        own = self.info.classes
        if tuple(classes) == own or sorted(classes) != sorted(own):
            return self
        rank = np.array([list(classes).index(name) for name in own], np.int64)
        records = {
            split: [dataclasses.replace(r, labels=rank[r.labels]) for r in images]
            for split, images in self._records.items()
        }
        _, dash, tiles = self.info.fingerprint.partition("-")
        fingerprint = _fingerprint(classes, records) + dash + tiles
        info = dataclasses.replace(self.info, classes=tuple(classes), fingerprint=fingerprint)
        return Dataset(info, records, self._cache_root, self._alpha)


def default_cache_root() -> Path:
    """`$NASDET_HOME/cache`, else `~/.cache/nasdet`; absolute, for workers have another working directory."""
    home = os.environ.get("NASDET_HOME")
    return Path(home).expanduser().absolute() / "cache" if home else Path.home() / ".cache" / "nasdet"


def open_data(
    source: str | Path,
    *,
    seed: int = 0,
    cache_root: Path | None = None,
    max_bad: float = 0.05,
    tile: Tiling | None = None,
) -> Dataset:
    """Open and check a data set.

    Args:
        source: "digits" (built in), a folder in COCO, VOC or YOLO layout, or a YAML that names the parts
            (keys: `nasdet.data.data_yaml`).
        seed: of the split where no files name one, and of the built-in set.
        cache_root: where decoded images are kept; default `$NASDET_HOME/cache`, else `~/.cache/nasdet`.
        max_bad: largest share of bad annotations, and of bad images, that is accepted; a data YAML's own goes first.
        tile: how images are cut into tiles; a data YAML's own goes first.

    Raises:
        InputError: for everything that is wrong with it.
    """
    cache_root = cache_root or default_cache_root()
    if str(source) == DIGITS:
        folder = digits_folder(cache_root, seed)
        resolved = DataSource(folder, DIGITS, DataFile(), DIGITS)
    else:
        resolved = resolve_source(source)
    if resolved.file.max_bad is not None:
        max_bad = resolved.file.max_bad
    with _collector_paused():
        dataset = _open(resolved, str(source), seed, cache_root, max_bad)
        tile = resolved.file.tile or tile
        return dataset.tiled(tile) if tile else dataset


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Reading makes millions of objects that all stay; the garbage collector would go through them again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _open(source: DataSource, stated: str, seed: int, cache_root: Path, max_bad: float) -> Dataset:
    log = DefectLog()
    raw = read_layout(source, log)
    _add_groups(raw, source)
    alpha = source.file.channels == 4
    scans = scan_images([image.path for image in raw.images], cache_root, alpha=alpha)
    usable = _decodable(raw, scans, source, log)
    check_conventions(usable, scans, raw.layout, source.where, max_bad)
    channels, bits = _pixel_kind(usable, scans, source)
    records = _checked(usable, scans, log)
    named = len(raw.images) + log.count(BAD_FILES)
    objects = sum(len(image.objects) for image in usable)
    skipped = log.count({"unknown class", "malformed annotation", "annotation of an unknown image"})
    log.judge(source.where, objects=objects + skipped, images=named, max_bad=max_bad)
    splits, rule = _split(records, [image.split for image in usable], source, seed)
    _require_objects(splits, source)
    _report_leaks(splits, log)
    mean, std = _moments([scans[r.path] for r in splits["train"]], channels)
    info = DatasetInfo(
        source=stated, name=source.name, layout=raw.layout, classes=raw.classes, channels=channels, bits=bits,
        mean=mean, std=std, splits={split: len(own) for split, own in splits.items()}, split_rule=rule,
        aspect=float(np.median([r.width / r.height for r in records])),
        fingerprint=_fingerprint(raw.classes, splits), defects=log.defects(), notes=tuple(raw.notes),
        masks=any(r.masks for r in records),
    )  # fmt: skip
    return Dataset(info, splits, cache_root, alpha)


def _checked(images: Sequence[RawImage], scans: dict[Path, Scan], log: DefectLog) -> list[ImageRecord]:
    records = []
    with ReadingProgress("images checked", len(images)) as progress:
        for number, image in enumerate(images, 1):
            records.append(check_image(image, scans[image.path], number, log))
            progress.advance()
    return records


def _add_groups(raw: RawData, source: DataSource) -> None:
    find = group_finder(source)
    if find:
        for image in raw.images:
            image.group = find(image.path)


def _decodable(raw: RawData, scans: dict[Path, Scan], source: DataSource, log: DefectLog) -> list[RawImage]:
    usable = []
    for image in raw.images:
        error = scans[image.path].error
        if error:
            log.add("undecodable image", f"{image.path.name}: {error}", "skipped")
        else:
            usable.append(image)
    if not usable:
        missing = [d for d in log.defects() if "image" in d.kind]
        detail = "; ".join(f"{d.kind} {d.count}x, such as {d.examples[0]}" for d in missing)
        raise InputError(f"no image can be read{': ' + detail if detail else ''}", where=source.where)
    return usable


def _pixel_kind(images: Sequence[RawImage], scans: dict[Path, Scan], source: DataSource) -> tuple[int, int]:
    """Channels and bits that all images share; gray images among colour ones are expanded to three channels."""
    by_channels = {scans[i.path].channels: i.path for i in images}
    by_bits = {scans[i.path].bits: i.path for i in images}
    if set(by_channels) == {1, 3}:
        by_channels = {3: by_channels[3]}
    for noun, found, wanted in (("channels", by_channels, source.file.channels), ("bits", by_bits, source.file.bits)):
        listed = ", ".join(f"{n} {noun} in {path.name}" for n, path in sorted(found.items()))
        if len(found) > 1:
            raise InputError(
                f"images differ in {noun}: {listed}", where=source.where, remedy="convert them to one kind"
            )
        if wanted and wanted not in found and not (noun == "channels" and wanted == 3 and set(found) == {1}):
            raise InputError(f"{wanted} {noun} wanted, but {listed}", where=f"{source.where}: {noun}")
    return source.file.channels or next(iter(by_channels)), next(iter(by_bits))


def _split(
    records: list[ImageRecord], stated: list[str], source: DataSource, seed: int
) -> tuple[dict[str, list[ImageRecord]], str]:
    """Records of each split, and the rule in words."""
    shares = source.file.split
    keys = [f"group {r.group}" if r.group else r.digest for r in records]
    if not any(stated):
        chosen = _split_or_fail(keys, seed, shares, SPLITS, source)
        rule = f"{shares_text(shares)} train/val/test by content, seed {seed}"
    elif "train" in stated and "val" not in stated:
        train = [key for key, split in zip(keys, stated, strict=True) if split == "train"]
        own = iter(_split_or_fail(train, seed, (1 - _VAL_SHARE, _VAL_SHARE), ("train", "val"), source))
        chosen = [next(own) if split == "train" else split for split in stated]
        rule = f"{_VAL_SHARE:.0%} of the stated training images by content for val, seed {seed}"
    else:
        chosen, rule = list(stated), "as stated by the files"
    if any(r.group for r in records) and rule != "as stated by the files":
        rule += f", {len(set(keys))} groups kept together"
    if missed := chosen.count(""):
        rule += f"; {missed} images in folders that name no split are left out"
    if "train" not in chosen:
        raise InputError(
            "no training images", where=source.where,
            remedy=f"found {', '.join(sorted(set(chosen)))} only; name the training part in a data YAML",
        )  # fmt: skip
    splits = {split: [r for r, c in zip(records, chosen, strict=True) if c == split] for split in SPLITS}
    return {split: _unique_ids(own) for split, own in splits.items() if own}, rule


def _split_or_fail(
    keys: list[str], seed: int, shares: Sequence[float], names: Sequence[str], source: DataSource
) -> list[str]:
    chosen = split_by_content(keys, seed, shares, names)
    if chosen is None:
        raise InputError(
            f"{len(keys)} images of one group or content cannot be split into train and val", where=source.where,
            remedy="add images, or name the parts in a data YAML",
        )  # fmt: skip
    return chosen


def _unique_ids(records: list[ImageRecord]) -> list[ImageRecord]:
    """The records, numbered anew if ids of several files collide."""
    if len({r.id for r in records}) == len(records):
        return records
    return [dataclasses.replace(record, id=number) for number, record in enumerate(records, 1)]


def _require_objects(splits: dict[str, list[ImageRecord]], source: DataSource) -> None:
    for split in ("train", "val"):
        if not any((~r.crowd).any() for r in splits[split]):
            raise InputError(f"no usable box in split {split!r}", where=source.where, remedy="annotate some objects")


def _report_leaks(splits: dict[str, list[ImageRecord]], log: DefectLog) -> None:
    """Count images that stand in several splits, or several times in one."""
    home: dict[str, str] = {}
    for split, records in splits.items():
        names = {record.digest: record.path.name for record in reversed(records)}
        for digest, count in Counter(r.digest for r in records).items():
            if digest in home:
                log.add("same image in two splits", f"{names[digest]} ({home[digest]} and {split})", "reported")
            elif count > 1:
                log.add("same image twice in a split", f"{names[digest]} ({split})", "reported")
            home.setdefault(digest, split)


def _moments(scans: Sequence[Scan], channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel over the images, every pixel weighing the same."""
    weights = np.array([s.width * s.height for s in scans], np.float64)
    weights /= weights.sum()
    # Gray images among colour ones have one value for all channels.
    repeats = [channels // len(s.mean) for s in scans]
    mean = weights @ np.array([s.mean * n for s, n in zip(scans, repeats, strict=True)])
    square = weights @ np.array([s.square * n for s, n in zip(scans, repeats, strict=True)])
    std = np.sqrt(np.maximum(square - mean**2, 1.0))
    return tuple(round(float(v), 4) for v in mean), tuple(round(float(v), 4) for v in std)


def _fingerprint(classes: Sequence[str], splits: dict[str, list[ImageRecord]]) -> str:
    state = hashlib.sha256(repr(tuple(classes)).encode())
    for split, records in splits.items():
        for record in records:
            state.update(f"{split} {record.digest} {record.width}x{record.height}".encode())
            for array in (record.boxes, record.labels, record.crowd):
                state.update(np.ascontiguousarray(array).tobytes())
            for number, mask in enumerate(record.masks):
                if mask is not None:
                    state.update(f"mask {number} ".encode() + mask.tobytes())
    return state.hexdigest()[:16]
