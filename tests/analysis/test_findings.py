"""What a study found, in sentences."""

from __future__ import annotations

from typing import Any

import pytest

from nasdet.analysis.findings import findings
from nasdet.space import SearchSpace, parse_space
from nasdet.trial import Rung, State, TrialRecord


@pytest.fixture
def space() -> SearchSpace:
    return parse_space(
        {
            "name": "s",
            "space": {
                "input.size": {"kind": "choice", "values": [128, 192, 256]},
                "backbone.width": {"kind": "int", "low": 16, "high": 48, "step": 8},
                "norm.kind": {"kind": "choice", "values": ["bn", "gn"]},
            },
            "objectives": [{"name": "ap"}, {"name": "gflops"}],
            "budget": {"trials": 20, "epochs": 12, "rungs": [4, 12]},
        }
    )


def trial(number: int, params: dict[str, Any], *aps: float, told: int = 0, gflops: float = 1.0) -> TrialRecord:
    """One that reached 4 and, with two figures, 12 epochs."""
    epochs = (4, 12)[: len(aps)]
    rungs = tuple(
        Rung(e, {"ap": ap, "gflops": gflops}, told + i) for i, (e, ap) in enumerate(zip(epochs, aps, strict=True))
    )
    state: State = "complete" if len(aps) == 2 else "stopped"
    values = dict(rungs[-1].values) if rungs else {}
    return TrialRecord(
        f"t{number}", number, state, params, values=values, epochs=epochs[-1] if epochs else 0, rungs=rungs
    )


def test_sizes_are_told_at_the_first_comparison(space: SearchSpace) -> None:
    sizes = [128, 256, 256, 256]
    aps = [(0.1,), (0.2, 0.5), (0.3,), (0.25,)]
    made = [trial(i, {"input.size": s}, *own) for i, (s, own) in enumerate(zip(sizes, aps, strict=True))]
    first = findings(made, space)[0]
    assert first == (
        "Tried for input.size, after 4 epochs: 128 (1 candidate, best ap 0.1), 256 (3 candidates, best ap 0.3)."
    )


def test_what_mattered_needs_enough_candidates(space: SearchSpace) -> None:
    found = findings([trial(0, {"input.size": 128}, 0.1, 0.2)], space)
    assert found[0] == "What mattered cannot be told yet: that takes 10 candidates trained in full, and there is 1."


def test_what_mattered_and_the_end_of_its_range(space: SearchSpace) -> None:
    widths = [16, 24, 32, 40, 48] * 8
    made = [
        trial(i, {"backbone.width": w, "norm.kind": "gn" if i % 3 else "bn"}, 0.1, w / 100 + i / 1e4, gflops=1 + i % 7)
        for i, w in enumerate(widths)
    ]
    found = findings(made, space)
    mattered = next(line for line in found if line.startswith("For ap mattered most"))
    assert "backbone.width (" in mattered and "; 48)" in mattered and "norm.kind" not in mattered
    assert "backbone.width is best at its largest value, 48: a space that goes further may hold better." in found
    assert "For gflops no parameter mattered more than chance makes it seem." in found


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        (0.5, "t0, the best, still gained 0.1 ap from 4 to 12 epochs: a longer training is likely to gain more."),
        (0.404, "t0, the best, gained no more than 0.004 ap from 4 to 12 epochs: longer adds little."),
        (0.39, "t0, the best, gained no more than 0 ap from 4 to 12 epochs: longer adds little."),
    ],
)
def test_whether_a_longer_training_would_help(space: SearchSpace, last: float, sentence: str) -> None:
    assert findings([trial(0, {}, 0.4, last)], space)[-1] == sentence


@pytest.mark.parametrize(
    ("best_place", "sentence"),
    [
        (0, "Nothing better came after the first 17% of the results: more search of the same space adds little."),
        (5, "It was found in the last quarter of the search: more time for the search may find a better one."),
    ],
)
def test_whether_a_longer_search_would_help(space: SearchSpace, best_place: int, sentence: str) -> None:
    made = [trial(i, {}, 0.1, 0.6 if i == best_place else 0.5, told=2 * i) for i in range(6)]
    assert findings(made, space)[-1] == sentence


@pytest.mark.parametrize(("small", "told"), [(0.2, True), (0.4, False), (-1.0, False)])
def test_small_objects_that_are_found_worst(space: SearchSpace, small: float, told: bool) -> None:
    made = trial(0, {}, 0.4, 0.5)
    found = findings([made.replace(values={**made.values, "ap_s": small, "ap_m": 0.5})], space)
    sentence = "Objects below 32 x 32 pixels are found worst, ap_s 0.2 against ap_m 0.5: a larger input, "
    assert any(line.startswith(sentence) for line in found) == told


def test_nothing_measured_and_nothing_in_full(space: SearchSpace) -> None:
    assert findings([trial(0, {})], space) == []
    assert findings([trial(0, {}, 0.1, 0.2)], space.with_budget(trials=1)) == []
    found = findings([trial(0, {}, 0.1)], space)
    assert found[-1] == "No candidate was trained in full: a longer --time-limit or a smaller --max-epochs helps."


def test_smaller_is_better_where_the_first_objective_says_so(space: SearchSpace) -> None:
    swapped = parse_space({**space.raw, "objectives": [{"name": "gflops"}, {"name": "ap"}]})
    sizes = [
        trial(i, {"input.size": s}, 0.1, 0.2, gflops=g) for i, (s, g) in enumerate([(128, 1.0), (256, 4.0), (128, 2.0)])
    ]
    assert findings(sizes, swapped)[0].endswith("128 (2 candidates, best gflops 1), 256 (1 candidate, best gflops 4).")


def test_the_recipe_is_not_said_to_matter_for_a_cost_of_the_network() -> None:
    free = {
        "recipe.ema": {"kind": "choice", "values": [1.0, 2.0]},
        "norm.kind": {"kind": "choice", "values": ["bn", "gn"]},
    }
    budget = {"trials": 40, "epochs": 12, "rungs": [4, 12]}
    space = parse_space(
        {"name": "s", "space": free, "objectives": [{"name": "ap"}, {"name": "gflops"}], "budget": budget}
    )
    made = [
        trial(
            i,
            {"recipe.ema": 1.0 + i % 2, "norm.kind": "bn"},
            0.1,
            0.2 + i % 2 / 10 + i / 1e4,
            gflops=2 - i % 2 + i / 1e4,
        )
        for i in range(40)
    ]
    found = findings(made, space)
    assert any(line.startswith("For ap mattered most") and "recipe.ema" in line for line in found)
    assert "For gflops no parameter mattered more than chance makes it seem." in found
