"""No module imports itself through others, imports inside functions counted."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path


def test_there_are_no_import_circles(repository: Path) -> None:
    graph = imports(repository)
    assert len(graph) > 200 and "nasdet.search.records.store" in graph["nasdet.search.engine.engine"]
    assert circles(graph) == []


def test_circles_are_found_also_through_functions(tmp_path: Path) -> None:
    package = tmp_path / "nasdet"
    (package / "b").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("def f():\n    from nasdet.b import c\n")
    (package / "b" / "__init__.py").write_text("from nasdet.b.c import g\n")
    (package / "b" / "c.py").write_text("import nasdet.d\n")
    (package / "d.py").write_text("def f():\n    if True:\n        import nasdet.a\n")
    (package / "e.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nasdet.f import f\n")
    (package / "f.py").write_text("from nasdet.e import f\n")
    assert circles(imports(tmp_path)) == [{"nasdet.a", "nasdet.b.c", "nasdet.d"}]


def imports(repository: Path) -> dict[str, set[str]]:
    """The modules of the project that each of them imports."""
    files: dict[str, Path] = {}
    for name, folder in {"nasdet": "nasdet", "nasdet.trainers": "trainers", "nasdet.analysis": "analysis"}.items():
        for path in sorted((repository / folder).rglob("*.py")):
            parts = path.relative_to(repository / folder).with_suffix("").parts
            files[".".join([name, *parts]).removesuffix(".__init__")] = path
    return {name: set(_imported(ast.parse(path.read_text()), files.keys())) - {name} for name, path in files.items()}


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The strongly connected components of more than one module (Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:  # nothing that the node reaches leads to an older one: a component is complete
            place = stack.index(node)
            found.append(set(stack[place:]))
            del stack[place:]

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return [component for component in found if len(component) > 1]


def _imported(tree: ast.AST, known: Collection[str]) -> Iterator[str]:
    """Modules of the project that are imported anywhere in a file but under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from _imported(other, known)
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            # `from package import module` imports the module; `from package import name` the package.
            names = [f"{node.module}.{a.name}" for a in node.names if f"{node.module}.{a.name}" in known]
            names = names if len(names) == len(node.names) else [*names, str(node.module)]
        yield from (name for name in names if name in known)
        yield from _imported(node, known)
