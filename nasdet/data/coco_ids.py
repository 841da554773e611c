"""Values in COCO files: ids, as numbers or as text, and any value in a message."""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")
Other = TypeVar("Other")
_WHOLE = re.compile(r"([+-]?[0-9]{1,300})(?:\.0*)?")


def whole(value: Any) -> int | None:
    """The whole number that an id is or spells (3, 3.0, "3"), else None."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and (number := _WHOLE.fullmatch(value.strip())):
        return int(number[1])
    return None


def shown(value: Any) -> str:
    """A value in a message: no half of a surrogate pair, which JSON may hold and no terminal can show."""
    return str(value).encode("utf-8", "replace").decode()


class Ids(Generic[Value]):
    """A mapping from ids in which an id is also found as text, or as a number, where this names one entry only."""

    def __init__(self) -> None:
        self._exact: dict[Any, Value] = {}
        self._number: dict[int, Any] = {}
        """The id that spells a number; None if several do ("1" and "01")."""

    def add(self, id_: Any, value: Value) -> None:
        """Enter an id, which must be hashable."""
        self._exact[id_] = value
        number = whole(id_)
        if number is not None:
            self._number[number] = None if number in self._number else id_

    def __contains__(self, id_: Any) -> bool:
        return id_ in self._exact or self._spelled(id_) is not None

    def __getitem__(self, id_: Any) -> Value:
        return self._exact[id_ if id_ in self._exact else self._spelled(id_)]

    def get(self, id_: Any, default: Other) -> Value | Other:
        """What was entered, or the default."""
        if id_ in self._exact:
            return self._exact[id_]
        spelled = self._spelled(id_)
        return default if spelled is None else self._exact[spelled]

    def _spelled(self, id_: Any) -> Any:
        """The id that spells the same number, else None."""
        number = whole(id_)
        return None if number is None else self._number.get(number)
