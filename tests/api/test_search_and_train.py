"""One call from images to a trained detector, on Ray, with a space that follows from the images."""

from __future__ import annotations

import time

import pytest

import nasdet

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.timeout(300)
def test_a_search_goes_on_to_train_what_it_found(ray_is_up: None) -> None:
    begin = time.monotonic()
    study = nasdet.run_search(data="digits", time_limit="90s", train=True, pick="best", progress=False, study="s")
    assert time.monotonic() - begin < 130
    assert study.space.name == "auto" and "px" in study.space.description
    detector = study.trained
    assert detector.evaluate("digits", "test")["ap"] > study.best.values["ap"]
    assert detector.bundle.metrics["trial"] == study.best.trial
