from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from nasdet.log import in_short, log_to, logger, traceback_of


def raised(function: object, *arguments: object) -> Exception:
    try:
        function(*arguments)  # type: ignore[operator]
    except Exception as error:
        return error
    raise AssertionError


def parse(text: str) -> object:
    return json.loads(text)


def test_an_exception_in_short_names_the_users_line_and_not_the_librarys() -> None:
    line = parse.__code__.co_firstlineno + 1
    assert in_short(raised(parse, "{")).endswith(f"(test_log.py:{line} in parse)")
    assert in_short(raised(parse, "{")).startswith("JSONDecodeError: Expecting property name")
    assert in_short(ValueError()) == "ValueError"


def test_a_log_file_gets_tracebacks_while_its_block_runs(tmp_path: Path) -> None:
    handlers, level = list(logger.handlers), logger.level
    with log_to(tmp_path / "new" / "log.txt"):
        logger.info("inside")
        logger.error("failed", exc_info=raised(parse, "{"))
    logger.error("outside")
    text = (tmp_path / "new" / "log.txt").read_text()
    assert "INFO nasdet: inside" in text and "in parse" in text and "outside" not in text
    assert (logger.handlers, logger.level) == (handlers, level)


def test_without_a_handler_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert not logging.getLogger("nasdet").handlers[1:]
    logger.propagate, before = False, logger.propagate  # pytest's own handlers hang on the root logger
    try:
        logger.error("unseen")
    finally:
        logger.propagate = before
    assert capfd.readouterr().err == ""


def test_a_traceback_has_its_notes() -> None:
    error = raised(parse, "{")
    error.add_note("on worker 1")
    assert traceback_of(error).endswith("on worker 1")
