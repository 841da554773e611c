"""Which of the classes that a reader found are trained on, whatever the layout."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

from nasdet.data.records import RawData
from nasdet.errors import InputError


def settle_classes(raw: RawData, where: str) -> None:
    """Leave out classes all of whose objects are to be ignored (crowds, difficult ones), with these objects; tell names
    that are hardly different. Both are noted in `raw.notes`.

    Raises:
        InputError: all objects of all classes are to be ignored.
    """
    counts = Counter(obj.label for image in raw.images for obj in image.objects)
    usable = {obj.label for image in raw.images for obj in image.objects if not obj.crowd}
    if counts and not usable:
        mark = {"coco": "iscrowd", "voc": "difficult"}.get(raw.layout, "to be ignored")
        raise InputError(
            f"all {counts.total()} objects are marked {mark}", where=where, remedy="mark only what is to be ignored"
        )
    ignored = sorted(counts.keys() - usable)
    if ignored:
        listed = ", ".join(f"{raw.classes[label]!r} ({counts[label]})" for label in ignored)
        raw.notes.append(f"left out, because all objects of the class are to be ignored: {listed}")
        _drop(raw, set(ignored))
    alike: dict[str, list[str]] = defaultdict(list)
    for name in raw.classes:
        alike[re.sub(r"[\s_-]+", " ", name).strip().casefold()].append(name)
    for names in alike.values():
        if len(names) > 1:
            listed = " and ".join(map(repr, names))
            raw.notes.append(f"classes {listed} differ only in case or blanks; are they one class?")


def _drop(raw: RawData, labels: set[int]) -> None:
    kept = [label for label in range(len(raw.classes)) if label not in labels]
    rank = {label: number for number, label in enumerate(kept)}
    raw.classes = tuple(raw.classes[label] for label in kept)
    for image in raw.images:
        image.objects = [obj._replace(label=rank[obj.label]) for obj in image.objects if obj.label in rank]
