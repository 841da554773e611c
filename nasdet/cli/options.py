"""Options that several commands share. One decision: a wrong value names its option and shows a right one."""

from __future__ import annotations

from nasdet.errors import InputError


def parse_duration(text: str | None, option: str) -> float | None:
    """Seconds of a text such as 90s, 30m or 1h30m; None stays None."""
    from nasdet.space.schema import parse_seconds

    if text is None:
        return None
    try:
        seconds = float(parse_seconds(text))
    except ValueError as error:
        raise InputError(str(error), where=option) from None
    if seconds <= 0:
        raise InputError(f"{text!r} is not above 0", where=option, remedy="write for example 30m")
    return seconds


def parse_numbers(text: str, option: str) -> tuple[float, ...]:
    """The numbers of a text such as 0.75,1,1.5."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"{text!r} is no list of numbers", where=option, remedy="write for example 0.75,1,1.5"
        ) from None
