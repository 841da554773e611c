"""The documentation: its examples run, its commands exist, its site builds and needs no network."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from nasdet.cli.main import cli
from nasdet.space import parse_space

pytestmark = pytest.mark.docs
ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
LOADED = re.compile(r"""<(?:script|link|img|iframe)[^>]*\b(?:src|href)=["']?(?:https?:)?//[^\s>"']+""")


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """(page, text) of every block of code in a language; that of commands is empty."""
    for page in PAGES:
        for found, text in BLOCK.findall(page.read_text()):
            if found == language:
                yield page.name, text


def commands() -> list[str]:
    """Every command line of nasdet in the documentation, comments and continuation lines resolved."""
    lines = [line for _, text in blocks("") for line in text.replace("\\\n", " ").splitlines()]
    return sorted({line.strip() for line in lines if line.strip().startswith("nasdet ")})


@pytest.mark.parametrize("page", sorted({page for page, _ in blocks("python")}))
def test_python_runs(page: str, tmp_path: Path) -> None:
    """The blocks of a page one after another, as a reader would."""
    code = "\n".join(text for own, text in blocks("python") if own == page)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, f"{page}: {done.stderr[-2000:]}"


@pytest.mark.parametrize("line", commands())
def test_commands_and_their_options_exist(line: str) -> None:
    arguments = shlex.split(line, comments=True)[1:]
    if not arguments or any(a in ("X", "...") or a.startswith(("<", "[")) for a in arguments):
        pytest.skip("stands for several commands")
    _, command, rest = cli.resolve_command(click.Context(cli), arguments)
    assert command is not None
    command.make_context(arguments[0], rest)


def test_the_search_space_of_the_guide_is_one() -> None:
    from ruamel.yaml import YAML

    text = next(t for page, t in blocks("yaml") if page == "search-spaces.md")
    assert len(parse_space(YAML(typ="safe").load(text), name="mine").parameters) == 5


def test_links_between_pages_hold() -> None:
    made = {"quick.md"}  # pages of the site that are made from search_spaces/
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if not target.startswith("http"):
                there = (page.parent / target).exists() or Path(target).name in made
                assert there, f"{page.relative_to(ROOT)} links to {target}"


def test_the_site_builds_and_loads_nothing_from_the_network() -> None:
    """Leaves the site in build/site, where `make docs` says that it is."""
    site = ROOT / "build" / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = list(site.rglob("*.html"))
    names = {str(p.relative_to(site)) for p in pages}
    assert {"index.html", "tutorial.html", "spaces/detnet.html", "api/nasdet.search.html"} <= names
    assert not [
        LOADED.findall(p.read_text()) for p in pages if LOADED.search(p.read_text().replace('rel="canonical"', ""))
    ]
    assert "simulate" in (site / "api" / "nasdet.search.html").read_text()


def test_a_wrong_option_would_be_noticed() -> None:
    name, command, rest = cli.resolve_command(click.Context(cli), ["pareto", "--plt", "x"])
    assert command is not None
    with pytest.raises(click.UsageError):
        command.make_context(name, rest)
