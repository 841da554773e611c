"""Pages of the site that are made from what they describe: the start from README.md, one page for each bundled search
space, one for each public package. One decision: nothing is written twice, so nothing of it can go stale."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from nasdet.space import load_space
from nasdet.space.bundled_spaces import find_space

PACKAGES = {
    "nasdet.api.search": "`nasdet.run_search`.",
    "nasdet.api.study": "`nasdet.load_study` and the `Study` that it returns.",
    "nasdet.api.training": "`nasdet.train`.",
    "nasdet.api.detector": "`nasdet.load` and the `Detector` that it returns.",
    "nasdet.driver.inference.detections": "`Detections`: what a detector found in an image.",
    "nasdet.search": "The engine: ask for jobs, tell results, simulate workers.",
    "nasdet.space": "Search spaces.",
    "nasdet.space.specs": "Every field of a detector's input and norm, and of a recipe.",
    "nasdet.space.backbones": "Every kind of backbone and its fields.",
    "nasdet.space.necks": "Every kind of neck and its fields.",
    "nasdet.space.heads": "Every kind of head and its fields.",
    "nasdet.data": "Data sets, batches, augmentation.",
    "nasdet.models": "Building a detector, its costs and its latency.",
    "nasdet.evaluation": "COCO figures.",
    "nasdet.export": "Picking a trial, bundles.",
    "nasdet.trainers.loop": "The training loop, without Ray.",
    "nasdet.tracking": "MLflow.",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every page of a folder into the navigation where mkdocs.yml names the folder."""
    root = _root(config)
    inside = {
        "spaces/": [p.stem for p in sorted((root / "search_spaces").glob("*.yaml"))],
        "api/": list(PACKAGES),
        "studies/": [p.stem for p in sorted((root / "docs" / "studies").glob("*.md")) if p.stem != "README"],
    }
    starts = {"studies/": "studies/README.md"}
    config.nav = _expanded(config.nav, inside, starts)
    return config


def _expanded(entry: Any, inside: dict[str, list[str]], starts: dict[str, str]) -> Any:
    if isinstance(entry, list):
        return [_expanded(e, inside, starts) for e in entry]
    if isinstance(entry, dict):
        return {title: _expanded(value, inside, starts) for title, value in entry.items()}
    if entry not in inside:
        return entry
    return [starts.get(entry, f"{entry}index.md"), *({name: f"{entry}{name}.md"} for name in inside[entry])]


def _root(config: MkDocsConfig) -> Path:
    return Path(config.config_file_path).parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    root = _root(config)
    pages = {"index.md": _start(root / "README.md")}
    spaces = sorted((root / "search_spaces").glob("*.yaml"))
    pages |= {f"spaces/{path.stem}.md": _space(path) for path in spaces}
    pages["spaces/index.md"] = _list("Bundled search spaces", {p.stem: _first(p) for p in spaces})
    pages |= {f"api/{name}.md": f"# {name}\n\n{text}\n\n::: {name}\n" for name, text in PACKAGES.items()}
    pages["api/index.md"] = _list("From Python", PACKAGES)
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def _start(readme: Path) -> str:
    """README.md with links that hold inside of docs/."""
    return re.sub(r"\]\(docs/", "](", readme.read_text())


def _list(title: str, entries: dict[str, str]) -> str:
    return f"# {title}\n\n" + "\n".join(f"- [{name}]({name}.md): {text}" for name, text in entries.items()) + "\n"


def _first(path: Path) -> str:
    """The first sentence of a space's description."""
    return load_space(path).description.split(". ")[0].rstrip(".") + "."


def _space(path: Path) -> str:
    """A space's header, what it searches, and the file itself."""
    space = load_space(find_space(path.stem))
    text = path.read_text()
    header = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")][1:]
    command = next(line for line in header if line.startswith("nasdet "))
    notes = " ".join(line for line in header if line != command)
    goals = ", ".join(f"{o.name} ({o.direction})" for o in space.objectives)
    rows = "\n".join(f"| `{name}` | {_domain(domain)} |" for name, domain in space.parameters.items())
    return (
        f"# {path.stem}\n\n{space.description}\n\n```\n{command}\n```\n\n{notes}\n\n"
        f"Objectives: {goals}. Constraints: {', '.join(map(str, space.constraints)) or 'none'}.\n\n"
        f"| parameter | values |\n|---|---|\n{rows}\n\n```yaml\n{text}```\n"
    )


def _domain(domain: Any) -> str:
    if hasattr(domain, "values"):
        return ", ".join(f"`{value}`" for value in domain.values)
    step = f" in steps of {domain.step}" if getattr(domain, "step", 1) != 1 else ""
    return f"{domain.low:g} to {domain.high:g}{step}{', logarithmic' if domain.log else ''}"
