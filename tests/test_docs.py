"""The docs agree with the code: tables, examples, commands and links."""

import ast
import importlib
import inspect
import re
import runpy
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import typer
import yaml

import biomodel
from studies.cli.main import app
from studies.luminance import arms, lights

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.glob("*.md")),
    ROOT / "studies/results/README.md",
    ROOT / "tests/README.md",
]
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def test_parameter_table_is_that_of_the_code():
    """After a change of a parameter, `make docs` generates the page again."""
    page = runpy.run_path(str(DOCS / "tables.py"))["text"]()
    assert (DOCS / "parameters.md").read_text() == page


class Names(ast.NodeVisitor):
    """Checks that attributes and arguments in an example exist, as far as they are known without running it."""

    def __init__(self):
        self.known = {}

    def visit_Import(self, node):
        self.known |= {alias.name: importlib.import_module(alias.name) for alias in node.names}

    def visit_Assign(self, node):
        made = self.resolve(node.value.func) if isinstance(node.value, ast.Call) else None
        if isinstance(node.targets[0], ast.Name):
            self.known[node.targets[0].id] = made if inspect.isclass(made) else None
        self.generic_visit(node)

    def visit_Call(self, node):
        called = self.resolve(node.func)
        if called is not None and getattr(called, "__module__", "").startswith(("biomodel", "bridge", "studies")):
            accepted = inspect.signature(called).parameters
            any_keyword = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in accepted.values())
            for keyword in node.keywords:
                assert any_keyword or keyword.arg in accepted, f"{ast.unparse(node.func)} has no argument {keyword.arg}"
        self.generic_visit(node)

    def visit_Attribute(self, node):
        self.resolve(node)
        self.generic_visit(node)

    def resolve(self, node):
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        owner = self.resolve(node.value) if isinstance(node, ast.Attribute) else None
        if owner is None:
            return None
        given = getattr(owner, "__annotations__", {})
        made = inspect.isclass(owner) and f"self.{node.attr} =" in inspect.getsource(owner)
        assert hasattr(owner, node.attr) or node.attr in given or made, f"{ast.unparse(node)} does not exist"
        return getattr(owner, node.attr, None)


@PAGE
def test_names_in_examples_exist(page):
    for example in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        Names().visit(ast.parse(example))


@PAGE
def test_commands_exist(page):
    text = re.sub(r"\\\n\s+", "", page.read_text())
    for line in re.findall(r"^    (?:\.venv/bin/)?precortical (.*)$", text, re.MULTILINE):
        command = typer.main.get_command(app)
        words = shlex.split(line, comments=True)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= options, line


@PAGE
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_readme_shows_the_folders():
    layout = re.search(r"^    biomodel/ .*?\n\n", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE).group()
    shown = set()
    for line in layout.splitlines():
        if found := re.match(r"    (\w+)/", line):
            package = found.group(1)
        shown |= {f"{package}/{folder}" for folder in re.findall(r"(?<![\w/])([\w.]+)/(?=\s|,|$)", line[15:])}
    folders = {
        str(path.parent.relative_to(ROOT))
        for package in ("biomodel", "bridge", "studies")
        for path in ROOT.glob(f"{package}/*/*")
        if path.suffix in (".py", ".safetensors")
    }
    assert folders - shown == set()


def test_readme_has_every_lesion_and_the_numbers_of_arms_and_lights():
    readme = (ROOT / "README.md").read_text()
    assert [name for name in biomodel.LESIONS if f"`{name}`" not in readme] == []
    numbers = re.search(r"all (\d+) lights instead of (\d+), and all (\d+) arms instead of (\d+)", readme)
    registered = (lights.LIGHTS, lights.DEFAULT, arms.ARMS, arms.DEFAULT)
    assert list(map(int, numbers.groups())) == list(map(len, registered))
    assert f"lights behind {len(arms.ARMS)} arms" in (ROOT / "CHANGELOG.md").read_text()


def test_citation_is_that_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["version"] == biomodel.__version__
    assert {"message", "title", "authors"} <= citation.keys()


def test_wheel_holds_all_data_files():
    """Files other than Python that the packages need are named in pyproject.toml."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for package in ("biomodel", "bridge", "studies"):
        for path in (ROOT / package).rglob("*"):
            inside = path.relative_to(ROOT)
            if path.is_dir() or path.suffix in (".py", ".pyc") or inside.parts[:2] == ("studies", "results"):
                continue
            patterns = [
                "/".join([*owner.split("."), pattern]) if owner != "*" else f"*/{pattern}"
                for owner, listed in named.items()
                for pattern in listed
            ]
            assert any(fnmatch(str(inside), pattern) for pattern in patterns), inside
