from __future__ import annotations

import os

import pytest

from nasdet.environment import environment


def test_variables_are_as_before_whatever_the_block_made_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASDET_SET", "user's")
    monkeypatch.setenv("NASDET_KEPT", "user's")
    monkeypatch.delenv("NASDET_NEW", raising=False)
    before = dict(os.environ)
    with pytest.raises(KeyError), environment({"NASDET_SET": "1"}, defaults={"NASDET_KEPT": "2", "NASDET_NEW": "3"}):
        assert [os.environ[name] for name in ("NASDET_SET", "NASDET_KEPT", "NASDET_NEW")] == ["1", "user's", "3"]
        del os.environ["NASDET_SET"]
        os.environ["NASDET_NEW"] = "4"
        raise KeyError
    assert os.environ == before
