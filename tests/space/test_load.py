"""Wrong search spaces: each is one plain line with file, line, key path and what to do."""

import pytest

from nasdet.errors import InputError
from nasdet.space import load_space, parse_space

HEAD = "objectives: [{name: ap}]\nspace:\n  norm.kind: {kind: choice, values: [gn, bn]}\n"

# name -> (text, message after "my.yaml", with {0} for nothing); the line number is part of the message
WRONG = {
    "empty": ("", ": is empty; a search space needs at least 'space' and 'objectives'"),
    "only a comment": ("# nothing\n", ": is empty; a search space needs"),
    "a list": ("- 1\n", ": holds a list, not a mapping of keys"),
    "a text": ("hello\n", ": holds a str, not a mapping of keys"),
    "not closed": ("a: [1, 2\nb: 3\n", ":2: is not YAML: "),
    "tab": ("space:\n\tnorm.kind: 1\n", ":2: a tab in the indentation; YAML is indented with spaces"),
    "key twice": (HEAD + "space: {}\n", ":4: space: the key is given twice, first on line 2; keep one of them"),
    "parameter twice": (
        HEAD + "  norm.kind: {kind: choice, values: [gn]}\n",
        ":4: space.norm.kind: the key is given twice, first on line 3",
    ),
    "two documents": (HEAD + "---\na: 1\n", ":4: is not YAML: "),
    "python object": ("a: !!python/name:os.system\n", ":1: the tag tag:yaml.org,2002:python/name:os.system is not"),
    "alias loop": ("a: &a [*a]\n", ":1: an alias that contains itself"),
    "unknown alias": ("a: *nobody\n", ":1: is not YAML: found undefined alias 'nobody'"),
    "merge of a list": (HEAD + "fixed: {<<: [1]}\n", ":4: << takes one alias of a mapping"),
    "list as key": ("? [a]\n: 1\n", ":1: a key that is not plain text"),
    "unknown key": (HEAD + "budgett: {trials: 3}\n", ":4: budgett: unknown key; did you mean 'budget'?"),
    "unknown key far off": (HEAD + "zzz: 1\n", ":4: zzz: unknown key; known: budget, calibration, constraints"),
    "unknown key inside": (
        HEAD + "budget:\n  trials: 3\n  epoch: 4\n",
        ":6: budget.epoch: unknown key; did you mean 'epochs'?",
    ),
    "unknown key of an objective": (
        "space: {norm.kind: {kind: choice, values: [gn]}}\nobjectives:\n  - {name: ap, directio: max}\n",
        ":3: objectives.0.directio: unknown key; did you mean 'direction'?",
    ),
    "no space": ("objectives: [{name: ap}]\n", ":1: space: is missing"),
    "no objectives": ("space: {norm.kind: {kind: choice, values: [gn]}}\n", ":1: objectives: is missing"),
    "empty space": ("objectives: [{name: ap}]\nspace: {}\n", ":2: space: is empty; give at least one"),
    "empty objectives": (
        "space: {norm.kind: {kind: choice, values: [gn]}}\nobjectives: []\n",
        ":2: objectives: is empty; give at least one",
    ),
    "space is a list": ("objectives: [{name: ap}]\nspace: [1]\n", ":2: space: input should be an object (got [1])"),
    "bad name": (HEAD + "name: 'a b'\n", ":4: name: string should match pattern"),
    "text for a number": (HEAD + "budget: {trials: many}\n", ":4: budget.trials: input should be a valid integer"),
    "number in quotes": (HEAD + "budget: {trials: '3'}\n", ":4: budget.trials: input should be a valid integer"),
    "truth for a number": (HEAD + "budget: {epochs: true}\n", ":4: budget.epochs: input should be a valid integer"),
    "no trials": (HEAD + "budget: {trials: 0}\n", ":4: budget.trials: input should be greater than or equal to 1"),
    "rungs fall": (HEAD + "budget: {epochs: 9, rungs: [5, 3, 9]}\n", ":4: budget: rungs must rise, got [5, 3, 9]"),
    "last rung": (HEAD + "budget: {epochs: 9, rungs: [3, 8]}\n", ":4: budget: the last rung 8 must equal epochs 9"),
    "time limit": (
        HEAD + "budget: {time_limit: soon}\n",
        ":4: budget.time_limit: 'soon' is not a duration; write for example '90s', '10m', '1h30m'",
    ),
    "no time": (HEAD + "budget: {time_limit: 0s}\n", ":4: budget.time_limit: input should be greater than 0"),
    "eta": (HEAD + "scheduler: {eta: 0}\n", ":4: scheduler.eta: input should be greater than or equal to 1"),
    "brackets, removed": (
        HEAD + "scheduler: {kind: halving, brackets: 2}\n",
        ":4: scheduler.brackets: was removed, because starting candidates at higher rungs found no better fronts; "
        "leave it out: all start at the first rung",
    ),
    "mode, removed": (
        HEAD + "mode: recipe_first\n",
        ":4: mode: was removed, because searching structure and recipe one after the other found no better fronts; "
        "leave it out: both are searched together",
    ),
    "mode, removed, in full": (HEAD + "mode: {kind: structure_first, structure: [a]}\n", ":4: mode: was removed, "),
    "unused sampler": (
        HEAD + "sampler: {kind: tpe}\nscheduler: {kind: freeze_thaw}\n",
        ":4: sampler.kind: is not used by scheduler freeze_thaw",
    ),
    "scheduler": (
        HEAD + "scheduler: {kind: asha}\n",
        ":4: scheduler.kind: input should be 'auto', 'halving', 'full' or",
    ),
    "sampler": (
        HEAD + "sampler: {kind: bo}\n",
        ":4: sampler.kind: input should be 'auto', 'tpe', 'gp', 'nsga2', 'nsga3', ",
    ),
    "sampler option": (
        HEAD + "sampler: {kind: nsga2, options: {population: 8}}\n",
        ":4: sampler.options.population: is not an option of sampler nsga2; did you mean 'population_size'?",
    ),
    "option without a sampler": (
        HEAD + "sampler: {options: {group: true}}\n",
        ":4: sampler.options.group: is not an option of sampler auto; leave it out, or name another sampler.kind",
    ),
    "workers": (HEAD + "resources: {workers: all}\n", ":4: resources.workers: "),
    "no workers": (HEAD + "resources: {workers: 0}\n", ":4: resources.workers: "),
    "device": (HEAD + "latency: {device: tpu}\n", ":4: latency.device: input should be 'auto', 'cpu' or 'cuda'"),
    "share of bad": (HEAD + "data: {max_bad: 5}\n", ":4: data.max_bad: input should be less than or equal to 1"),
    "data as text": (HEAD + "data: digits\n", ":4: data: input should be an object (got 'digits')"),
    "no kind": (
        HEAD + "  recipe.ema: {low: 0, high: 1}\n",
        ":4: space.recipe.ema: has no kind; give kind: choice, int or float",
    ),
    "unknown kind": (
        HEAD + "  recipe.ema: {kind: flot, low: 0, high: 1}\n",
        ":4: space.recipe.ema.kind: 'flot' is not a kind of domain; did you mean 'float'?",
    ),
    "list for a domain": (HEAD + "  recipe.ema: [0, 1]\n", ":4: space.recipe.ema: "),
    "null for a domain": (HEAD + "  recipe.ema: null\n", ":4: space.recipe.ema: "),
    "unknown key of a domain": (
        HEAD + "  recipe.ema: {kind: float, lo: 0, low: 0, high: 1}\n",
        ":4: space.recipe.ema.lo: unknown key; did you mean 'low'?",
    ),
    "key of another kind": (
        HEAD + "  recipe.ema: {kind: float, values: [0], low: 0, high: 1}\n",
        ":4: space.recipe.ema.values: unknown key; known: high, kind, log, low, when",
    ),
    "no high": (HEAD + "  recipe.ema: {kind: float, low: 0}\n", ":4: space.recipe.ema.high: is missing"),
    "low above high": (
        HEAD + "  recipe.ema: {kind: float, low: 2.0, high: 1.0}\n",
        ":4: space.recipe.ema: low 2.0 is not below high 1.0",
    ),
    "log of zero": (
        HEAD + "  recipe.ema: {kind: float, low: 0, high: 1, log: true}\n",
        ":4: space.recipe.ema: log needs low above 0, got 0.0",
    ),
    "infinite": (HEAD + "  recipe.ema: {kind: float, low: 0, high: .inf}\n", ":4: space.recipe.ema: low and high must"),
    "step": (
        HEAD + "  neck.width: {kind: int, low: 8, high: 30, step: 8}\n",
        ":4: space.neck.width: high 30 is not low 8 plus a multiple of step 8",
    ),
    "no choice": (HEAD + "  neck.width: {kind: choice, values: []}\n", ":4: space.neck.width: values is empty"),
    "choice twice": (
        HEAD + "  neck.width: {kind: choice, values: [8, 16, 8]}\n",
        ":4: space.neck.width: values holds 8 twice",
    ),
    "unknown path": (
        HEAD + "  recipe.base_lrr: {kind: float, low: 0.1, high: 1}\n",
        ":4: space.recipe.base_lrr: is not a path of a detector or recipe; did you mean 'recipe.base_lr'?",
    ),
    "path of a part": (
        HEAD + "  neck: {kind: choice, values: [fpn]}\n",
        ":4: space.neck: is not a path of a detector or recipe",
    ),
    "path decided by the data": (
        HEAD + "  head.classes: {kind: choice, values: [3]}\n",
        ":4: space.head.classes: is decided by the data set; leave it out",
    ),
    "path decided by the budget": (
        HEAD + "  recipe.epochs: {kind: int, low: 3, high: 9}\n",
        ":4: space.recipe.epochs: is decided by the budget; set budget.epochs",
    ),
    "choice that is refused": (
        HEAD + "  backbone.stem:\n    kind: choice\n    values:\n      - root\n      - conv5x5\n",
        ":8: space.backbone.stem.values.1: 'conv5x5' is refused: input should be 'conv3x3', 'deep3x3'",
    ),
    "levels that are refused": (
        HEAD + "  neck.levels: {kind: choice, values: [[-1, -2]]}\n",
        ":4: space.neck.levels.values.0: [-1, -2] is refused: levels must be rising negative stage numbers",
    ),
    "text for an int": (
        HEAD + "  neck.width: {kind: choice, values: ['64']}\n",
        ":4: space.neck.width.values.0: '64' is refused: input should be a valid integer",
    ),
    "low that is refused": (
        HEAD + "  neck.depth: {kind: int, low: -1, high: 2}\n",
        ":4: space.neck.depth.low: -1 is refused: input should be greater than or equal to 0",
    ),
    "high that is refused": (
        HEAD + "  recipe.drop_path: {kind: float, low: 0, high: 1.5}\n",
        ":4: space.recipe.drop_path.high: 1.5 is refused: input should be less than 1",
    ),
    "stage that does not exist": (
        HEAD + "  backbone.stages.5.depth: {kind: int, low: 1, high: 2}\n",
        ":4: space.backbone.stages.5.depth: there are 3 stages; list every stage in fixed.backbone.stages",
    ),
    "stage that may be left out": (
        HEAD
        + "  backbone.stages.2.depth: {kind: int, low: 0, high: 2}\n"
        + "  backbone.stages.2.stride: {kind: choice, values: [1, 2]}\n",
        ":5: space.backbone.stages.2.stride: has no effect where backbone.stages.2.depth is 0; add when:",
    ),
    "unknown condition": (
        HEAD + "  norm.groups: {kind: choice, values: [8], when: {norm.kin: gn}}\n",
        ":4: space.norm.groups.when.norm.kin: is not a parameter of this space; did you mean 'norm.kind'?",
    ),
    "condition outside the domain": (
        HEAD + "  norm.groups: {kind: choice, values: [8], when: {norm.kind: [gn, syncbn]}}\n",
        ":4: space.norm.groups.when.norm.kind: 'syncbn' is outside the domain of norm.kind",
    ),
    "condition on a real number": (
        HEAD
        + "  recipe.ema: {kind: float, low: 0, high: 1}\n"
        + "  norm.groups: {kind: choice, values: [8], when: {recipe.ema: 1.0}}\n",
        ":5: space.norm.groups.when.recipe.ema: is a real number; a condition names a choice or an int",
    ),
    "conditions in a circle": (
        "objectives: [{name: ap}]\nspace:\n"
        "  neck.width: {kind: choice, values: [8], when: {head.width: 8}}\n"
        "  head.width: {kind: choice, values: [8], when: {neck.width: 8}}\n",
        ":3: space.neck.width.when: the conditions form a cycle",
    ),
    "unknown objective": (
        "space: {norm.kind: {kind: choice, values: [gn]}}\nobjectives: [{name: latency}]\n",
        ":2: objectives.0.name: unknown objective 'latency'; did you mean 'latency_ms'?",
    ),
    "objective twice": (
        HEAD.replace("[{name: ap}]", "[{name: ap}, {name: ap}]"),
        ":1: objectives.1.name: 'ap' is given",
    ),
    "wrong direction": (
        HEAD.replace("name: ap", "name: params_m, direction: max"),
        ":1: objectives.0.direction: params_m is to be minimised; write min",
    ),
    "no such direction": (
        HEAD.replace("name: ap", "name: ap, direction: up"),
        ":1: objectives.0.direction: input should",
    ),
    "constraint on nothing known": (
        HEAD + "constraints: ['param_m <= 5']\n",
        ":4: constraints.0: cannot constrain 'param_m', which is not a cost known before training; did you",
    ),
    "constraint on ap": (
        HEAD + "constraints:\n  - gflops <= 1\n  - ap >= 0.5\n",
        ":6: constraints.1: cannot constrain 'ap', which is not a cost known before training; known: gflops, latency",
    ),
    "malformed constraint": (
        HEAD + "constraints: [params_m = 5]\n",
        ":4: constraints.0: 'params_m = 5' is not a constraint; write for example 'params_m <= 5'",
    ),
    "constraint without a number": (HEAD + "constraints: [params_m < x]\n", ":4: constraints.0: 'params_m < x' is no"),
    "constraint as a mapping": (HEAD + "constraints: [{params_m: 5}]\n", ":4: constraints.0: input should be a valid"),
    "unknown rule": (
        HEAD + "rules: {off: [little_dat]}\n",
        ":4: rules.off.0: no rule is named 'little_dat'; did you mean 'little_data'?",
    ),
    "point with an unknown path": (
        HEAD + "points:\n  - {norm.kidn: gn}\n",
        ":5: points.0.norm.kidn: is not a parameter of this space; did you mean 'norm.kind'?",
    ),
    "point outside": (
        HEAD + "points:\n  - norm.kind: syncbn\n",
        ":5: points.0.norm.kind: 'syncbn' is outside its domain; change it, or try no points: --set 'points=[]'",
    ),
    "fixed and unknown": (
        HEAD + "fixed:\n  neck:\n    widht: 8\n",
        ":6: fixed.neck.widht: is not a path of a detector or recipe; did you mean 'neck.width'?",
    ),
    "fixed and refused": (
        HEAD + "fixed: {recipe: {optimizer: lion}}\n",
        ":4: fixed.recipe.optimizer: 'lion' is refused: input should be 'adamw', 'sgd', 'lamb' or 'muon'",
    ),
    "fixed and searched": (
        HEAD + "fixed: {norm: {kind: gn}}\n",
        ":4: fixed.norm.kind: is searched as well; remove it here or from space",
    ),
    "fixed part as text": (HEAD + "fixed: {neck: pan}\n", ":4: fixed.neck: 'pan' stands where keys are expected"),
    "fixed stage": (
        HEAD + "fixed: {backbone: {stages: [{}, {with: 8}]}}\n",
        ":4: fixed.backbone.stages.1.with: is not a path of a detector or recipe",
    ),
    "size twice": (
        HEAD + "fixed: {input: {size: 96, height: 96}}\n",
        ":4: fixed.input: input.size excludes input.height and input.width",
    ),
    "width twice": (
        HEAD + "fixed: {backbone: {width: 16, stages: [{width: 8}]}}\n",
        ":4: fixed.backbone.stages.0.width: backbone.width excludes widths of stages",
    ),
    "growth alone": (HEAD + "fixed: {backbone: {growth: 2.0}}\n", ":4: fixed.backbone.growth: needs backbone.width"),
    "stride twice": (
        HEAD + "fixed: {backbone: {first_stride: 4, stages: [{stride: 2}]}}\n",
        ":4: fixed.backbone.stages.0.stride: backbone.first_stride decides this stride",
    ),
    "levels twice": (
        HEAD + "fixed: {neck: {min_stride: 8, levels: [-1]}}\n",
        ":4: fixed.neck.levels: neck.min_stride decides the levels",
    ),
    "extends nothing known": (HEAD + "extends: detnett\n", ":4: extends: no search space 'detnett'; give a YAML file"),
    "extends a number": (HEAD + "extends: 3\n", ":4: extends: is not the name of a search space; give a file"),
    "extends itself": (HEAD + "extends: my.yaml\n", ":4: extends: the files extend each other: my.yaml -> my.yaml"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_file(name, write, monkeypatch):
    text, message = WRONG[name]
    monkeypatch.chdir(write(text).parent)
    with pytest.raises(InputError) as caught:
        load_space("my.yaml")
    assert str(caught.value).startswith("my.yaml" + message)
    assert "\n" not in str(caught.value)


def test_all_problems_are_named_in_the_order_of_lines(write):
    text = HEAD + "zzz: 1\nbudget: {trials: 0}\nscheduler: {eta: 0}\n"
    with pytest.raises(InputError) as caught:
        load_space(write(text))
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["zzz", "budget.trials", "scheduler.eta"]


def test_many_problems_are_cut(write):
    with pytest.raises(InputError) as caught:
        load_space(write(HEAD + "".join(f"k{i}: 1\n" for i in range(9))))
    lines = str(caught.value).splitlines()
    assert len(lines) == 6 and lines[-1] == "and 4 more"


def test_missing_file_folder_and_binary(tmp_path):
    with pytest.raises(
        InputError, match=r"no search space '.*nowhere.yaml'; give a YAML file or a bundled name: detnet"
    ):
        load_space(tmp_path / "nowhere.yaml")
    with pytest.raises(InputError, match="is a folder, not a YAML file"):
        load_space(tmp_path)
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: größe".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin.yaml: is not UTF-8 text \(byte 8\); save it as UTF-8"):
        load_space(path)


def test_defaults(minimal, write):
    space = load_space(write(minimal))
    assert space.name == "my" and space.budget.epochs == 12
    assert space.rungs() == (1, 4, 12)
    assert space.data.source is None and not space.function


def test_data_path_is_relative_to_the_file(minimal, write, tmp_path):
    (tmp_path / "photos").mkdir()
    space = load_space(write(minimal + "data: {source: photos}\n"))
    assert space.data.source == str(tmp_path / "photos")
    assert load_space(write(minimal + "data: {source: digits}\n")).data.source == "digits"


@pytest.mark.parametrize("mode", ["joint", "{kind: joint}", "{structure: [norm.kind]}"])
def test_removed_keys_of_older_studies_that_change_nothing_are_dropped(minimal, write, mode):
    space = load_space(write(minimal + f"mode: {mode}\nscheduler: {{kind: halving, brackets: 1}}\n"))
    assert (
        space.scheduler.kind == "halving" and "mode" not in space.raw and space.raw["scheduler"] == {"kind": "halving"}
    )


def test_a_removed_key_is_refused_as_an_option(minimal, write):
    with pytest.raises(InputError, match=r"--set scheduler.brackets=2: scheduler.brackets: was removed"):
        load_space(write(minimal), overrides=["scheduler.brackets=2"])


def test_durations(minimal, write):
    for text, seconds in [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172800), ("45", 45)]:
        assert load_space(write(minimal + f"budget: {{time_limit: {text}}}\n")).budget.time_limit == seconds


FUNCTION = {
    "space": {"units": {"kind": "int", "low": 64, "high": 1024, "log": True}},
    "objectives": [{"name": "loss", "direction": "min"}, {"name": "time", "direction": "min"}],
    "budget": {"epochs": 52, "trials": 100},
}


def test_function_space_has_free_names():
    space = parse_space(FUNCTION, name="table", function=True)
    assert space.function and list(space.parameters) == ["units"]
    assert [o.name for o in space.objectives] == ["loss", "time"]


def test_same_space_without_a_function_is_refused():
    with pytest.raises(InputError, match=r"space.units: is not a path of a detector or recipe"):
        parse_space(FUNCTION)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objectives": [{"name": "loss"}]}, "table: objectives.0: has no direction; give direction: max or min"),
        ({"constraints": ["params_m <= 1"]}, "table: constraints: has no meaning with --objective"),
        ({"data": {"source": "digits"}}, "table: data: has no meaning with --objective"),
    ],
)
def test_wrong_function_space(change, message):
    with pytest.raises(InputError, match=message):
        parse_space({**FUNCTION, **change}, name="table", function=True)
