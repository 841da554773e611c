"""Named recipes of the literature: `trainers/recipes/*.yaml`, and files laid out like them.

One decision: a recipe file holds only what its source states, beside the source, the published initialisation and
result; it may extend another one, so that two lengths of one schedule differ in one line. Files are read as data, since
this layer is below the trainers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nasdet.errors import InputError, nearest
from nasdet.space.overrides import merge, without
from nasdet.space.schema import Section
from nasdet.space.schema_errors import read_schema
from nasdet.space.specs import Recipe
from nasdet.space.yaml_document import Document, KeyPath, raise_problems, read_document

_FOLDER = Path(__file__).parents[1] / "trainers" / "recipes"
_PRESET: KeyPath = ("fixed", "recipe", "preset")


class RecipeFile(Section):
    """A recipe and where it comes from."""

    source: str = ""
    """Paper and table, or the authors' configuration."""
    init: str = ""
    """Initialisation of the published result: random, or what it was pre-trained on."""
    published: str = ""
    """Result in the source."""
    recipe: Recipe = Recipe()
    """What the source states; the rest is nasdet's default."""


class NamedRecipe(RecipeFile):
    """A recipe by its name."""

    name: str
    """Bundled name, or path of the file."""

    @property
    def stated(self) -> dict[str, Any]:
        """The values that the file states, as plain nested values."""
        return self.recipe.model_dump(mode="json", exclude_unset=True)

    @property
    def epochs(self) -> int | None:
        """Length that the file states."""
        return self.recipe.epochs if "epochs" in self.recipe.model_fields_set else None


def recipe_names() -> list[str]:
    """Names of the bundled recipes."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_recipe(name: str | Path, *, where: str = "") -> NamedRecipe:
    """A bundled recipe, a YAML file laid out like one, or the recipe.json of a bundle.

    Args:
        name: bundled name or path.
        where: option or place of the name, for the message.

    Raises:
        InputError: there is no such recipe, or something in it is wrong.
    """
    file = _find(str(name), where, beside=None)
    document = _with_ancestors(file, ())
    read, problems = read_schema(document.data, RecipeFile)
    raise_problems(problems, document)
    assert read is not None
    return NamedRecipe(name=str(name), **dict(read))


def resolve_preset(document: Document) -> Document:
    """Lay the bundled recipe that `fixed.recipe.preset` names under the other values of `fixed.recipe`; values that are
    searched, and the length, are left out."""
    recipe: Any = document.data
    for key in _PRESET[:-1]:
        recipe = recipe.get(key) if isinstance(recipe, dict) else None
    if not isinstance(recipe, dict) or "preset" not in recipe:
        return document
    name = recipe["preset"]
    if name not in recipe_names():
        place = ": ".join(part for part in (document.place(_PRESET), "fixed.recipe.preset") if part)
        raise InputError(f"unknown recipe {name!r}", where=place, remedy=nearest(str(name), recipe_names()))
    searched = document.data.get("space")
    values = without({"recipe": load_recipe(name).stated}, {"recipe.epochs", *(searched or ())})
    document = merge(Document({"fixed": values}, {}), document)
    del document.data["fixed"]["recipe"]["preset"]
    return document


def _find(name: str, where: str, beside: Path | None) -> Path:
    path = Path(name).expanduser()
    local = path if beside is None else beside / path
    if name in recipe_names():
        return _FOLDER / f"{name}.yaml"
    if local.is_file():
        return local
    known = nearest(name, recipe_names()).removesuffix("?")
    raise InputError(
        f"no recipe {name!r}", where=where, remedy=f"{known}, or give a YAML file that extends one of them"
    )


def _with_ancestors(file: Path, below: tuple[Path, ...]) -> Document:
    document = read_document(file, "a recipe needs 'recipe' or 'extends'")
    if file.suffix == ".json":
        places = {("recipe", *path): place for path, place in document.places.items()}
        return Document({"recipe": document.data}, places)
    if "extends" not in document.data:
        return document
    place = f"{document.place(('extends',))}: extends"
    parent, chain = document.data.pop("extends"), (*below, file.resolve())
    base = _find(str(parent), place, beside=file.parent)
    if base.resolve() in chain:
        names = " -> ".join(p.name for p in (*chain, base))
        raise InputError(f"the files extend each other: {names}", where=place)
    return merge(_with_ancestors(base, chain), document)
