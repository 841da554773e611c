"""Named recipes of the literature: `trainers/recipes/*.yaml`, and files laid out like them.

A recipe file holds the values that its source states, the source itself, and the published initialisation and result.
It may extend another one, so that two lengths of one schedule differ in one line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nasdet.errors import InputError, nearest
from nasdet.files import exists
from nasdet.space.overrides import read_with_ancestors
from nasdet.space.schema import Section
from nasdet.space.schema_errors import read_schema
from nasdet.space.specs import Recipe
from nasdet.space.yaml_document import Document, raise_problems, read_document

_FOLDER = Path(__file__).parents[1] / "trainers" / "recipes"


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
    file = _find(name, None, where)
    document = read_with_ancestors(file, _read, _find, lambda ancestor, child: ancestor)
    read, problems = read_schema(document.data, RecipeFile)
    raise_problems(problems, document)
    assert read is not None
    return NamedRecipe(name=str(name), **dict(read))


def _read(file: Path) -> Document:
    document = read_document(file, "a recipe needs 'recipe' or 'extends'")
    if file.suffix != ".json":
        return document
    places = {("recipe", *path): place for path, place in document.places.items()}
    return Document({"recipe": document.data}, places)


def _find(name: Any, beside: Path | None, where: str) -> Path:
    """The file of a bundled name or of a path, which counts from the folder `beside`."""
    path = Path(str(name)).expanduser()
    local = path if beside is None else beside / path
    if str(name) in recipe_names():
        return _FOLDER / f"{name}.yaml"
    if exists(local) and local.is_file():
        return local
    known = nearest(str(name), recipe_names()).removesuffix("?")
    remedy = f"{known}, or give a YAML file that extends one of them"
    raise InputError(f"no recipe {str(name)!r}", where=where, remedy=remedy)
