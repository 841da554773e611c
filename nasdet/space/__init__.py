"""Search spaces, and the specifications of detectors and recipes that they lead to."""

from nasdet.space.build_specs import Built, DataInfo, build_specs
from nasdet.space.bundled_spaces import bundled_spaces
from nasdet.space.domains import Choice, Domain, Integer, Json, Real
from nasdet.space.load import load_space, parse_space
from nasdet.space.recipes import NamedRecipe, load_recipe, recipe_names
from nasdet.space.rules import RULES, RuleAction
from nasdet.space.schema import json_schema
from nasdet.space.space import Constraint, Objective, Params, SearchSpace

__all__ = [
    "RULES",
    "Built",
    "Choice",
    "Constraint",
    "DataInfo",
    "Domain",
    "Integer",
    "Json",
    "NamedRecipe",
    "Objective",
    "Params",
    "Real",
    "RuleAction",
    "SearchSpace",
    "build_specs",
    "bundled_spaces",
    "json_schema",
    "load_recipe",
    "load_space",
    "parse_space",
    "recipe_names",
]
