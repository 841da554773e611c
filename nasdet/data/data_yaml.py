"""The YAML file of a data set, and the folder that it, or a path, stands for. Every key is optional: it states only
what the folder does not say by itself.

```yaml
format: coco            # coco, voc or yolo; left out, it is detected
root: .                 # folder of the data, relative to this file
name: cells             # shown in tables; default: the folder's name
train: annotations/train.json   # coco: annotation file; voc: list of image names, or folder; yolo: folder, list file,
val: annotations/val.json       #   or a list of these; all relative to root
test: annotations/test.json
images: scans           # folder that file names are relative to
classes: [RBC, WBC]     # voc, yolo: names in order of label; any other name is a defect
channels: 4             # bands expected (4 also keeps the alpha of RGBA files as a band)
bits: 16                # 8 or 16, expected
group: {regex: '(P\\d+)_'}      # images of equal group stay together: first bracket of a match in the file's path,
                        #   {field: patient}: a field of COCO's image entries,
                        #   {csv: groups.csv, image: file, column: patient}: a table, one row an image
split: [0.7, 0.15, 0.15]        # shares of train, val, test where no files name them
max_bad: 0.05           # largest share of bad annotations, and of bad images, that is accepted
tile: {size: 512, overlap: 128, empty: 0.2}     # images are cut into overlapping tiles (docs/data.md)
```
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import re
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from nasdet.data.files import read_text
from nasdet.data.splits import SHARES
from nasdet.errors import InputError, nearest
from nasdet.space.tiling import Tiling
from nasdet.space.yaml_document import refuse_deep

Part = str | list[str]

_LARGEST_YAML = 1 << 19
"""Characters; a list of 20,000 class names is smaller, and a longer text takes the parser more than some seconds."""
_PATH_KEYS = {"path", "root", "images", "train", "training", "val", "valid", "validation", "test", "testing"}
_TEXT_KEYS = _PATH_KEYS | {"names", "classes", "nc", "name"}
_ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz", ".bz2"}
_SEE_HELP = "see `nasdet data --help` for a data YAML"


class GroupRule(BaseModel):
    """Where the group of an image is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    regex: str = ""
    field: str = ""
    csv: str = ""
    image: str = "image"
    column: str = "group"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(map(bool, (self.regex, self.field, self.csv))) != 1:
            raise ValueError("needs exactly one of regex, field, csv")
        try:
            re.compile(self.regex)
        except re.error as error:
            raise ValueError(f"regex {self.regex!r} is wrong: {error}") from None
        return self


class DataFile(BaseModel):
    """The YAML of a data set, see the head of this file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal["coco", "voc", "yolo"] | None = None
    root: str = "."
    name: str = ""
    train: Part | None = None
    val: Part | None = None
    test: Part | None = None
    images: str | None = None
    classes: Annotated[list[str], Field(min_length=1)] | None = None
    channels: Annotated[int, Field(ge=1)] | None = None
    bits: Literal[8, 16] | None = None
    group: GroupRule | None = None
    split: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(ge=0)]] = SHARES
    max_bad: Annotated[float, Field(ge=0, le=1)] | None = None
    tile: Tiling | None = None


@dataclasses.dataclass(frozen=True)
class DataSource:
    """A data set's folder with what its YAML says."""

    root: Path
    name: str
    file: DataFile
    where: str
    """The YAML, or the folder."""
    yolo_yaml: Path | None = None
    """A YOLO data.yaml that was itself given as the source."""

    @property
    def parts(self) -> dict[str, Part]:
        """The split parts that the YAML names."""
        named = {"train": self.file.train, "val": self.file.val, "test": self.file.test}
        return {split: part for split, part in named.items() if part is not None}


def resolve_source(source: str | Path) -> DataSource:
    """The folder and settings that `source`, a folder or a YAML file, stands for.

    Raises:
        InputError: there is no such file or folder, or the YAML is wrong.
    """
    path = Path(os.path.expanduser(source))  # noqa: PTH111 (takes any text)
    if not os.path.exists(path):  # noqa: PTH110
        raise InputError(
            f"no data set {str(source)[:200]!r}", remedy="give 'digits', a folder, or a YAML file that names the parts"
        )
    if path.is_dir():
        return DataSource(path.resolve(), path.resolve().name, DataFile(), str(path))
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise InputError(
            f"{path.suffix or 'a file without suffix'} is not a data set", where=str(path),
            remedy="unpack it and give the folder" if path.suffix.lower() in _ARCHIVES
            else "give 'digits', the folder that holds it, or a YAML file that names the parts",
        )  # fmt: skip
    content = read_yaml(path)
    if ("names" in content or "nc" in content) and "format" not in content:
        return DataSource(path.resolve().parent, path.resolve().parent.name, DataFile(), str(path), path.resolve())
    file = _parse(content, path)
    root = Path(path.parent, os.path.expanduser(file.root))  # noqa: PTH111 (takes any text)
    if not os.path.isdir(root):  # noqa: PTH112
        raise InputError(f"no folder {str(root)[:300]!r}", where=f"{path}: root")
    root = root.resolve()
    return DataSource(root, file.name or (path.stem if file.root == "." else root.name), file, str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; names and paths are text as it is written (`no`, `1.10`, `C:\\data`).

    Raises:
        InputError: the file is no YAML, with the line, or is no mapping.
    """
    text = read_text(path)
    if len(text) > _LARGEST_YAML:
        raise InputError(f"is too large for a data YAML ({len(text) >> 10} KB)", where=str(path), remedy=_SEE_HELP)
    content = _load_yaml(_forward_slashes(text), path)
    if not isinstance(content, dict):
        raise InputError("holds no keys", where=str(path), remedy=_SEE_HELP)
    return content


def _forward_slashes(text: str) -> str:
    """The text with `/` for `\\` below the keys of paths: in double quotes, `\\t` and `\\U` would be escapes."""
    lines, key = text.splitlines(), ""
    for number, line in enumerate(lines):
        key = line.partition(":")[0] if line[:1].isalpha() else key
        if key in _PATH_KEYS:
            lines[number] = line.replace("\\\\", "/").replace("\\", "/")
    return "\n".join(lines)


def _load_yaml(text: str, path: Path) -> Any:
    refuse_deep(text, str(path))
    try:
        constructor, _ = YAML(typ="safe", pure=True).get_constructor_parser(io.StringIO(text))
        node = constructor.composer.get_single_node()
        content = None if node is None else constructor.construct_document(node)
    except MarkedYAMLError as error:
        if "\t" in text:  # not allowed between words by YAML, but written by people
            return _load_yaml(text.replace("\t", "  "), path)
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"is not valid YAML ({error.problem})", where=f"{path}{line}") from None
    except YAMLError as error:
        raise InputError(f"is not valid YAML ({' '.join(str(error).split())})", where=str(path)) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"a value does not fit its type ({error})", where=str(path)) from None
    except RecursionError:
        raise InputError("is nested too deeply", where=str(path)) from None
    if isinstance(content, dict):
        pairs = [(key.value, value) for key, value in node.value if isinstance(key, ScalarNode)]
        as_written = {key: _as_written(value) for key, value in pairs if key in _TEXT_KEYS}
        content |= {key: value for key, value in as_written.items() if value is not None}
    return content


def _as_written(node: Any) -> Any:
    """A text, a list of texts or a mapping of texts as the file spells them; None for anything else, and for `null`."""
    if isinstance(node, ScalarNode):
        return None if str(node.tag).endswith(":null") else node.value
    if isinstance(node, SequenceNode) and all(isinstance(item, ScalarNode) for item in node.value):
        return [item.value for item in node.value]
    if isinstance(node, MappingNode) and all(isinstance(item, ScalarNode) for pair in node.value for item in pair):
        texts = {key.value: item.value for key, item in node.value}
        return texts if len(texts) == len(node.value) else None
    return None


def _parse(content: dict[str, Any], path: Path) -> DataFile:
    for key in content:
        if key not in DataFile.model_fields:
            raise InputError(
                f"unknown key {str(key)!r}", where=str(path), remedy=nearest(str(key), DataFile.model_fields)
            )
    try:
        return DataFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        keys = ".".join(str(k) for k in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        # `reprlib`, because the text of nested aliases may be longer than the memory
        raise InputError(f"{message}, got {reprlib.repr(first['input'])[:60]}", where=f"{path}: {keys}") from None


def group_finder(source: DataSource) -> Callable[[Path], str] | None:
    """A function that gives the group of an image file by regex or table; None if the YAML states no such rule."""
    rule = source.file.group
    if rule is None or rule.field:
        return None
    if rule.regex:
        return _by_regex(re.compile(rule.regex), source)
    return _by_table(_read_table(source.root / rule.csv, rule), source)


def _by_regex(pattern: re.Pattern[str], source: DataSource) -> Callable[[Path], str]:
    def find(path: Path) -> str:
        match = pattern.search(path.as_posix())
        if not match:
            raise InputError(
                f"no group: {pattern.pattern!r} does not match {path.name}", where=f"{source.where}: group.regex"
            )
        return match.group(1) if match.groups() else match.group(0)

    return find


def _by_table(groups: dict[str, str], source: DataSource) -> Callable[[Path], str]:
    def find(path: Path) -> str:
        relative = path.relative_to(source.root).as_posix() if path.is_relative_to(source.root) else path.name
        for name in (relative, path.name, path.stem):
            if name in groups:
                return groups[name]
        raise InputError(f"no group: the table has no row for {relative}", where=f"{source.where}: group.csv")

    return find


def _read_table(path: Path, rule: GroupRule) -> dict[str, str]:
    rows = list(csv.DictReader(io.StringIO(read_text(path))))
    for column in (rule.image, rule.column):
        if rows and column not in rows[0]:
            raise InputError(f"no column {column!r}", where=str(path), remedy=nearest(column, rows[0]))
    return {row[rule.image]: row[rule.column] for row in rows}
