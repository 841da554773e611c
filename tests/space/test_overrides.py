"""`extends` and `--set`: what wins, what is removed, and where messages point."""

import pytest

from nasdet.errors import InputError
from nasdet.space import Choice, Real, load_space


def test_child_lies_over_parent(minimal, write):
    write(minimal + "budget: {trials: 9, epochs: 6}\nfixed: {neck: {width: 8, kind: fpn}}\nname: parent\n", "base.yaml")
    space = load_space(
        write(
            "extends: base.yaml\nbudget: {trials: 3}\nfixed: {neck: {width: 16}}\n"
            "space:\n  recipe.base_lr: {high: 0.05}\n  norm.kind: null\n"
        )
    )
    assert (space.name, space.budget.trials, space.budget.epochs) == ("my", 3, 6)
    assert space.fixed == {"neck": {"width": 16, "kind": "fpn"}}
    assert space.parameters == {"recipe.base_lr": Real(0.001, 0.05, log=True)}


def test_another_kind_replaces_the_whole_domain(minimal, write):
    write(minimal, "base.yaml")
    text = "extends: base.yaml\nspace: {recipe.base_lr: {kind: choice, values: [0.1]}}\n"
    assert load_space(write(text)).parameters["recipe.base_lr"] == Choice((0.1,))


def test_null_brings_the_default_back(minimal, write):
    write(minimal + "data: {source: digits}\nbudget: {trials: 9}\n", "base.yaml")
    space = load_space(write("extends: base.yaml\ndata: {source: null}\nbudget: {trials: null}\n"))
    assert space.data.source is None and space.budget.trials is None


def test_three_generations_and_a_bundled_one(write):
    write("extends: detnet\nbudget: {trials: 5}\n", "base.yaml")
    space = load_space(write("extends: base.yaml\nbudget: {time_limit: 1m}\n"))
    rungs = load_space("detnet").budget.rungs
    assert (space.budget.trials, space.budget.time_limit, space.budget.rungs) == (5, 60, rungs)


def test_circle_of_files(write):
    write("extends: my.yaml\n", "base.yaml")
    with pytest.raises(
        InputError, match=r"base.yaml:1: extends: the files extend each other: my.yaml -> base.yaml -> my"
    ):
        load_space(write("extends: base.yaml\n"))


def test_message_names_the_file_that_is_wrong(minimal, write):
    write(minimal + "budget: {epochs: 6, rungs: [2, 6]}\nneckk: 1\n", "base.yaml")
    with pytest.raises(InputError, match=r"base.yaml:7: neckk: unknown key"):
        load_space(write("extends: base.yaml\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("space: {norm.kidn: null}", "my.yaml:2: there is no norm.kidn to remove; did you mean 'norm.kind'?"),
        ("space: {norm.kind: {values: [gn, xn]}}", "my.yaml:2: space.norm.kind.values.1: 'xn' is refused"),
    ],
)
def test_wrong_child(minimal, write, text, message):
    write(minimal, "base.yaml")
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        load_space(write(f"extends: base.yaml\n{text}\n"))


def test_overrides(minimal, write):
    space = load_space(
        write(minimal + "points:\n  - {norm.kind: gn}\n"),
        overrides=[
            "budget.trials=3",
            "space.recipe.base_lr.high=0.02",
            "space.recipe.ema={kind: choice, values: [0.0, 1.0]}",
            "space.neck.width.kind=choice",
            "space.neck.width.values=[8, 16]",
            "points.0.norm.kind=bn",
            "points.0.recipe.ema=1.0",
            "objectives=[{name: ap50}]",
            "fixed.recipe.augment.hflip=false",
            "constraints=[params_m <= 5]",
            "name=other",
        ],
    )
    assert space.budget.trials == 3 and space.name == "other"
    assert space.parameters["recipe.base_lr"] == Real(0.001, 0.02, log=True)
    assert space.parameters["recipe.ema"] == Choice((0.0, 1.0))
    assert space.parameters["neck.width"] == Choice((8, 16))
    assert space.points == ({"norm.kind": "bn", "recipe.ema": 1.0},)
    assert space.objectives[0].name == "ap50" and space.fixed["recipe"]["augment"]["hflip"] is False
    assert str(space.constraints[0]) == "params_m <= 5"


def test_override_by_null_removes(minimal, write):
    space = load_space(
        write(minimal + "budget: {trials: 4}\n"), overrides=["space.norm.kind=null", "budget.trials=null"]
    )
    assert list(space.parameters) == ["recipe.base_lr"] and space.budget.trials is None
    assert load_space(write(minimal), overrides=["budget.trials=null"]).budget.trials is None


def test_override_of_a_function_space(write):
    text = "space: {x.y: {kind: float, low: 0, high: 1}}\nobjectives: [{name: loss, direction: min}]\n"
    space = load_space(write(text), overrides=["space.x.y.high=2", "budget.epochs=3"], function=True)
    assert space.parameters["x.y"] == Real(0.0, 2.0) and space.budget.epochs == 3


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("budget.trials", "--set budget.trials: is not KEY=VALUE; write for example --set budget.trials=3"),
        ("=3", "--set =3: is not KEY=VALUE"),
        ("space.norm.kidn=null", "--set space.norm.kidn=null: there is no space.norm.kidn to remove"),
        ("budget.trails=null", "--set budget.trails=null: budget.trails: unknown key; did you mean 'trials'?"),
        ("budget.trails=3", "--set budget.trails=3: budget.trails: unknown key; did you mean 'trials'?"),
        ("budgte.trials=3", "--set budgte.trials=3: budgte: unknown key; did you mean 'budget'?"),
        ("budget.trials=0", "--set budget.trials=0: budget.trials: input should be greater than or equal to 1 (got 0)"),
        ("budget.trials=[", "--set budget.trials=[:1: is not YAML"),
        ("space.norm.kidn.values=[gn]", "--set space.norm.kidn.values=[gn]: space.norm"),
        ("space.norm.kind.values=[xn]", "--set space.norm.kind.values=[xn]: space.norm.kind.values.0: 'xn' is refused"),
        ("objectives.1.name=ap", "--set objectives.1.name=ap: objectives is a list of 1; '1' is not an index of it"),
        ("objectives.0.name.x=1", "--set objectives.0.name.x=1: objectives.0.name is 'ap' and holds no keys"),
        ("extends=detnet", "--set extends=detnet: extends: unknown key"),
    ],
)
def test_wrong_override(minimal, write, option, message):
    with pytest.raises(InputError) as caught:
        load_space(write(minimal), overrides=[option])
    assert str(caught.value).startswith(message)
