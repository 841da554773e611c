"""From flat parameters to specification and recipe."""

import dataclasses

import pytest

from nasdet.space import build_specs, parse_space
from nasdet.space.backbones import STEM_STRIDES
from nasdet.space.build_specs import canvas


def choice(*values, **more):
    return {"kind": "choice", "values": list(values), **more}


def build(space, params, info, fixed=None, **more):
    data = {"space": space, "fixed": fixed or {}, "objectives": [{"name": "ap"}], **more}
    return build_specs(parse_space(data), params, info)


def test_values_from_data_and_budget(info):
    built = build({"norm.kind": choice("gn")}, {"norm.kind": "gn"}, info, budget={"epochs": 7})
    spec, recipe = built.candidate
    assert (spec.input.channels, spec.input.mean, spec.input.std, spec.head.classes) == (1, (20.0,), (50.0,), 10)
    assert recipe.epochs == 7


@pytest.mark.parametrize(
    ("size", "aspect", "expected"),
    [
        (96, 1.0, (96, 96)),
        (256, 4 / 3, (192, 256)),
        (256, 3 / 4, (256, 192)),
        (100, 1.0, (96, 96)),
        (64, 9.0, (32, 64)),
    ],
)
def test_canvas(size, aspect, expected):
    assert canvas(size, aspect) == expected


def test_size_and_shape(info):
    space = {"input.size": choice(192), "input.shape": choice("auto", "square")}
    auto = build(space, {"input.size": 192, "input.shape": "auto"}, info).candidate[0].input
    square = build(space, {"input.size": 192, "input.shape": "square"}, info).candidate[0].input
    assert (auto.height, auto.width, square.height, square.width) == (128, 192, 192, 192)


def test_widths_double_at_stride_2_only(info):
    stages = [{"stride": 1}, {"stride": 2}, {"stride": 1, "dilation": 2}, {"stride": 2}]
    space = {"backbone.width": choice(16), "backbone.growth": choice(1.5)}
    params = {"backbone.width": 16, "backbone.growth": 1.5}
    spec = build(space, params, info, {"backbone": {"stages": stages}}).candidate[0]
    assert [s.width for s in spec.backbone.stages] == [16, 24, 24, 40]


@pytest.mark.parametrize("stem", STEM_STRIDES)
def test_first_stride_follows_the_stem(stem, info):
    space = {"backbone.stem": choice(*STEM_STRIDES)}
    fixed = {"backbone": {"first_stride": 4, "stages": [{}, {}]}}
    spec = build(space, {"backbone.stem": stem}, info, fixed).candidate[0]
    assert STEM_STRIDES[stem] * spec.backbone.stages[0].stride == 4


def test_first_stride_that_the_stem_cannot_give_is_infeasible(info):
    space = {"backbone.first_stride": choice(2, 4)}
    built = build(space, {"backbone.first_stride": 2}, info)
    assert built.infeasible == "stem deep3x3 has stride 4, so the first stage cannot work at stride 2"
    with pytest.raises(AssertionError):
        _ = built.candidate


def test_levels_from_a_stride(info):
    space = {"neck.min_stride": choice(4, 8, 16, 32), "backbone.stages.2.depth": choice(0, 1)}
    for stride, depth, levels in [(4, 1, (-3, -2, -1)), (8, 1, (-2, -1)), (16, 1, (-1,)), (8, 0, (-1,))]:
        params = {"neck.min_stride": stride, "backbone.stages.2.depth": depth}
        assert build(space, params, info).candidate[0].neck.levels == levels
    built = build(space, {"neck.min_stride": 32, "backbone.stages.2.depth": 1}, info)
    assert built.infeasible == "no stage works at stride 32: the backbone has strides [4, 8, 16]"


def test_level_that_does_not_exist_is_infeasible(info):
    space = {"neck.levels": choice([-3, -1], [-1]), "backbone.stages.1.depth": choice(0, 1)}
    built = build(space, {"neck.levels": [-3, -1], "backbone.stages.1.depth": 0}, info)
    assert built.infeasible == "neck level -3 does not exist: the backbone has 2 stages"
    assert built.spec is None


def test_stage_left_out_shifts_the_numbers(info):
    space = {
        "backbone.stages.0.depth": choice(0, 1),
        "backbone.stages.2.dilation": choice(1, 3),
        "neck.levels": choice([-1]),
    }
    params = {"backbone.stages.0.depth": 0, "backbone.stages.2.dilation": 3, "neck.levels": [-1]}
    spec = build(space, params, info).candidate[0]
    assert [s.dilation for s in spec.backbone.stages] == [1, 3]


def test_fixed_is_not_changed_by_building(info):
    data = {"space": {"backbone.stages.0.depth": choice(1, 2)}, "objectives": [{"name": "ap"}]}
    space = parse_space({**data, "fixed": {"backbone": {"stages": [{"width": 8}, {}]}}})
    before = space.to_yaml()
    build_specs(space, {"backbone.stages.0.depth": 2}, info)
    assert space.to_yaml() == before


@pytest.mark.parametrize(
    "params",
    [{}, {"norm.kind": "bn"}, {"norm.kind": "gn", "recipe.ema": 1.0}, {"norm.kind": "bn", "norm.groups": 8}],
    ids=["missing", "outside", "unknown", "inactive"],
)
def test_wrong_parameters_are_a_programmers_error(params, info):
    space = {"norm.kind": choice("gn", "syncbn"), "norm.groups": choice(8, when={"norm.kind": "gn"})}
    with pytest.raises(AssertionError, match="parameters of space"):
        build(space, params, info)


def test_channels_of_mean(info):
    wide = dataclasses.replace(info, channels=4, mean=(1.0, 2.0, 3.0, 4.0), std=(1.0,) * 4)
    spec = build({"norm.kind": choice("gn")}, {"norm.kind": "gn"}, wide).candidate[0]
    assert spec.input.mean == (1.0, 2.0, 3.0, 4.0)
