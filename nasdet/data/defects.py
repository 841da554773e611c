"""Counting what is wrong with a data set.

One decision: a fault is counted and named where it is met, and whether the data set is refused is decided once, at the
end, from the shares of bad annotations and of bad images.
"""

from __future__ import annotations

from nasdet.data.records import Action, Defect
from nasdet.errors import InputError

_EXAMPLES = 5
_BAD_OBJECTS = {
    "zero-size box",
    "reversed box",
    "box outside the image",
    "box mostly outside the image",
    "NaN or infinite box",
    "malformed annotation",
    "unknown class",
    "annotation of an unknown image",
}
BAD_FILES = {"missing image", "duplicate image id", "missing annotation file", "damaged annotation file"}
"""Faults by which an image stays out before it is opened."""
_BAD_IMAGES = BAD_FILES | {"undecodable image"}


class DefectLog:
    """Collects faults by kind, with examples."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Action], tuple[int, list[str]]] = {}

    def add(self, kind: str, example: str, action: Action) -> None:
        """Count one fault; `example` names file and object."""
        count, examples = self._found.get((kind, action), (0, []))
        if len(examples) < _EXAMPLES and example not in examples:
            examples.append(example)
        self._found[kind, action] = count + 1, examples

    def count(self, kinds: set[str]) -> int:
        """How many faults of these kinds were met."""
        return sum(count for (kind, _), (count, _) in self._found.items() if kind in kinds)

    def defects(self) -> tuple[Defect, ...]:
        """All faults, the most frequent first."""
        found = [Defect(kind, count, tuple(ex), action) for (kind, action), (count, ex) in self._found.items()]
        return tuple(sorted(found, key=lambda d: (-d.count, d.kind)))

    def judge(self, where: str, *, objects: int, images: int, max_bad: float) -> None:
        """Raise InputError if more than `max_bad` of all annotations or of all images are bad.

        Args:
            where: the data set.
            objects: annotations read, good and bad.
            images: images named, good and bad.
            max_bad: largest share that is accepted.
        """
        for noun, kinds, total in (("images", _BAD_IMAGES, images), ("annotations", _BAD_OBJECTS, objects)):
            bad = self.count(kinds)
            if bad > max_bad * total:
                named = [d for d in self.defects() if d.kind in kinds]
                listed = "; ".join(f"{d.kind} {d.count}x, such as {d.examples[0]}" for d in named)
                raise InputError(
                    f"{bad} of {total} {noun} are bad ({bad / max(total, 1):.1%}, at most {max_bad:.0%} are accepted): "
                    f"{listed}",
                    where=where,
                    remedy="correct them, or name the data in a YAML file with a higher `max_bad`",
                )
