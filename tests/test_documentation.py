"""The documentation is run, page by page, from top to bottom in one namespace.

A Python block of `>>>` lines must print what it shows, any other Python block must run. A
`console` block that shows output is run through the command line; other shell blocks are not
run, but the commands and options in them must exist. A block that imports a package which need not
be installed (`OPTIONAL`) is left out where it is not.
"""

import contextlib
import doctest
import pkgutil
import re
import runpy
import shlex
import textwrap
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import typer

import gatework.lang
from gatework.cells import catalogue, families
from gatework.cli import main
from gatework.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
GENERATOR = runpy.run_path(str(ROOT / "docs" / "tools" / "generate_catalogue.py"))
FENCE = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SHELLS = ("sh", "bash", "console")
OPTIONAL = ("lightning",)

on_every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).with_suffix("").as_posix()
)


class Block(NamedTuple):
    language: str
    code: str
    line: int  # of the page, counted from 0


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for fence in FENCE.finditer(text):
        line = text[: fence.start(3)].count("\n")
        yield Block(fence[2], textwrap.dedent(fence[3]), line)


class Checker(doctest.OutputChecker):
    """Compares output as an interactive session would show it."""

    def check_output(self, want: str, got: str, flags: int) -> bool:
        return super().check_output(want, re.sub(r"<doctest [^>]*>", "<stdin>", got), flags)


def can_run(block: Block) -> bool:
    """Whether all packages are installed that a block imports."""
    imported = re.findall(r"^(?:import|from) (\w+)", block.code, re.MULTILINE)
    return all(find_spec(name) for name in imported if name in OPTIONAL)


def run_session(block: Block, namespace: dict, page: Path) -> None:
    """Run a block of `>>>` lines and compare what it prints."""
    parser = doctest.DocTestParser()
    test = parser.get_doctest(block.code, {}, page.name, str(page), block.line)
    test.globs = namespace
    runner = doctest.DocTestRunner(Checker(), verbose=False, optionflags=doctest.ELLIPSIS)
    report: list[str] = []
    failed = runner.run(test, out=report.append, clear_globs=False).failed
    assert not failed, "".join(report)


def run_code(block: Block, namespace: dict, page: Path) -> None:
    """Run a block as a program; a traceback shows the line of the page."""
    exec(compile("\n" * block.line + block.code, str(page), "exec"), namespace)


@pytest.fixture
def one_thread():
    """The tensors are small; threads would only wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@on_every_page
@pytest.mark.usefixtures("one_thread")
def test_python_blocks(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    namespace = {"__name__": "documentation"}
    for block in blocks(page):
        if block.language in ("python", "pycon") and can_run(block):
            run = run_session if block.code.lstrip().startswith(">>>") else run_code
            run(block, namespace, page)


def test_blocks_are_found():
    assert sum(b.language in ("python", "pycon") for p in PAGES for b in blocks(p)) > 40


@on_every_page
def test_console_blocks(page, capsys):
    for block in blocks(page):
        command, _, shown = block.code.partition("\n")
        if block.language == "console" and shown:
            with contextlib.suppress(SystemExit):
                main(shlex.split(command.removeprefix("$ gatework")))
            printed = "".join(capsys.readouterr())
            assert Checker().check_output(shown, printed, doctest.ELLIPSIS), printed


def shell_commands(page: Path) -> Iterator[list[str]]:
    """Each call of `gatework` in the page's shell blocks, as words."""
    for block in blocks(page):
        if block.language in SHELLS:
            for line in block.code.splitlines():
                if line.removeprefix("$ ").startswith("gatework "):
                    yield shlex.split(line.removeprefix("$ "), comments=True)[1:]


@on_every_page
def test_shell_blocks_name_commands_and_options_that_exist(page):
    known = {
        name: {option for p in command.params for option in p.opts} | {"--help"}
        for name, command in typer.main.get_command(app).commands.items()
    }
    for command, *rest in shell_commands(page):
        if not command.startswith("--"):
            assert command in known
            options = {word.partition("=")[0] for word in rest if word.startswith("--")}
            assert options <= known[command]


@on_every_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


PATHS = re.compile(r"(?:`|python )((?:src|docs|tests|benchmarks|examples)/[^`\s]*)")


@on_every_page
def test_paths_named_on_a_page_exist(page):
    paths = PATHS.findall(page.read_text(encoding="utf-8"))
    assert [p for p in paths if not (ROOT / p).exists()] == []


def test_the_readme_names_paths():
    assert PATHS.search((ROOT / "README.md").read_text(encoding="utf-8"))


def test_the_tests_that_are_named_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", text))
    assert named
    assert [n for n in sorted(named) if f"\ndef {n}(" not in code] == []


def test_the_readme_names_every_folder():
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Where things are")[2]
    below = [p.parent for p in ROOT.glob("src/gatework/*/__init__.py")]
    folders = [*below, *(ROOT / name for name in ("tests", "benchmarks", "examples", "docs"))]
    assert [f for f in folders if f"`{f.relative_to(ROOT).as_posix()}/`" not in table] == []


def test_the_readme_can_be_read_apart_from_its_folder():
    """On a package index nothing lies beside it, so there its links need the whole address."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if "urls" not in project:
        pytest.skip("the project has no public address yet: [project.urls] of pyproject.toml")
    targets = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [t for t in targets if "://" not in t] == []


def test_every_word_of_the_language_is_explained():
    text = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    words = set(gatework.lang.__all__) - {"Cell", "DefinitionError"}
    assert [w for w in sorted(words) if f"`{w}(" not in text and f"`@{w}`" not in text] == []


def names_used(page: Path) -> set[str]:
    """The names under `gatework` that the page's Python blocks use."""
    code = "\n".join(b.code for b in blocks(page) if b.language in ("python", "pycon"))
    dotted = re.findall(r"\bgw\.([\w.]+)", code)
    imported = re.findall(r"from gatework[\w.]* import (?:\(([^)]*)\)|([\w, ]+))", code)
    return set(re.findall(r"\w+", " ".join([*dotted, *map(" ".join, imported)])))


@on_every_page
def test_the_names_that_a_page_uses_stand_among_the_python_names(page):
    listed = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    known = {*re.findall(r"\w+", listed), *gatework.lang.__all__, *catalogue()}
    assert names_used(page) - known == set()


def test_the_python_names_exist_with_all_members_that_are_listed():
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    entries = re.findall(r"^::: (\S+)\n((?:    .*\n)*)", text, re.MULTILINE)
    assert len(entries) > 80
    for name, options in entries:
        found = pkgutil.resolve_name(name)
        members = re.search(r"members: \[(.*)\]", options)
        for member in members[1].split(", ") if members else []:
            assert hasattr(found, member) or member in found.__annotations__, f"{name}.{member}"


@on_every_page
def test_generated_parts_are_current(page):
    text = page.read_text(encoding="utf-8")
    assert GENERATOR["filled"](text) == text, "run: python docs/tools/generate_catalogue.py"


def test_the_pictures_of_the_cells_are_current():
    for path, svg in GENERATOR["pictures"]().items():
        assert path.read_text(encoding="utf-8") == svg, (
            "run: python docs/tools/generate_catalogue.py"
        )


def test_the_catalogue_pages_have_every_cell():
    folder = ROOT / "docs" / "catalogue"
    pages = GENERATOR["pages"]()
    for path, text in pages.items():
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        assert found == text, "run: python docs/tools/generate_catalogue.py"
    assert set(folder.glob("*.md")) == set(pages) - {folder.with_suffix(".md")}
    shown = re.findall(r"^### `(\w+)`", "\n".join(pages.values()), re.MULTILINE)
    assert sorted(shown) == sorted(catalogue())


def test_every_family_of_cells_has_its_page_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"catalogue/(\w+)\.md", navigation)
    assert listed == list(families()), "name the page of each family in mkdocs.yml"
