"""Docstrings of public names: their sections, their examples, and how many arguments they describe."""

import ast
import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("biomodel", "bridge", "studies")

#: Packages whose public names are documented in full.
PUBLIC = ("biomodel", "biomodel.physiology", "bridge")

#: Examples that take over ten seconds, with the reason.
SLOW = {
    "bridge.fit.fitting.fit_pathway": "simulates stimuli for the fit and for scores, and fits",
    "bridge.fit.fitting.fit_responses": "simulates, and fits",
}

#: Public functions that accept all that their types allow.
NEVER_RAISE = ("biomodel.physiology.draw_curves", "biomodel.physiology.has_population")

#: The most arguments of a function, and functions that have more.
ARGUMENTS = 10
MORE_ARGUMENTS = {"biomodel.pathway.Pathway.simulate": 12}

SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def public_names():
    """Functions and classes in `__all__` of the public packages, as (name, object)."""
    for package in PUBLIC:
        module = importlib.import_module(package)
        for name in module.__all__:
            found = getattr(module, name)
            if inspect.isfunction(found) or inspect.isclass(found):
                yield f"{package}.{name}", found


def definitions():
    """Functions and classes of all packages, as (module, name in it, syntax tree)."""

    def inside(node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                name = f"{prefix}{child.name}"
                yield name, child
                if isinstance(child, ast.ClassDef):
                    yield from inside(child, f"{name}.")

    for module, path in SOURCES.items():
        for name, node in inside(ast.parse(path.read_text()), ""):
            yield module, name, node


DEFINITIONS = list(definitions())


def examples():
    """Names of functions and classes whose docstrings have examples."""
    for module, name, node in DEFINITIONS:
        if ">>>" in (ast.get_docstring(node) or ""):
            full = f"{module}.{name}"
            yield pytest.param(module, name, id=full, marks=[pytest.mark.slow, pytest.mark.all] if full in SLOW else ())


def sections(documented):
    """Titles of the sections of a docstring."""
    text = inspect.cleandoc(documented.__doc__ or "")
    return {title for title, line in re.findall(r"^(\w[\w ]*)\n(-+)$", text, re.MULTILINE) if len(title) == len(line)}


def missing(documented):
    """Sections that the docstring of a function or class lacks."""
    needed = {"Examples"}
    if inspect.isclass(documented) and issubclass(documented, Exception):
        return needed - sections(documented)
    signature = inspect.signature(documented)
    takes_arguments = any(name not in ("self", "cls") for name in signature.parameters)
    if inspect.isfunction(documented):
        needed |= {"Raises"} | ({"Parameters"} if takes_arguments else set())
        needed |= {"Returns"} if signature.return_annotation not in (None, "None") else set()
    elif takes_arguments:
        needed |= {"Parameters"}
    found = sections(documented)
    return needed - found - ({"Parameters"} if "Attributes" in found else set())


@pytest.mark.parametrize(("name", "documented"), [pytest.param(*item, id=item[0]) for item in public_names()])
def test_public_names_have_all_sections(name, documented):
    assert missing(documented) - ({"Raises"} if name in NEVER_RAISE else set()) == set()


def public_functions():
    """Public functions and methods, but commands and overloads, as (name, syntax tree, number of arguments)."""
    for module, name, node in DEFINITIONS:
        private = re.search(r"(^|\.)_", name) or not isinstance(node, ast.FunctionDef)
        if private or module.startswith("studies.cli") or "overload" in map(ast.unparse, node.decorator_list):
            continue
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        yield f"{module}.{name}", node, sum(argument.arg not in ("self", "cls") for argument in arguments)


def test_public_functions_have_few_arguments():
    most = {name: MORE_ARGUMENTS.get(name, ARGUMENTS) for name, _, _ in public_functions()}
    assert [(name, number) for name, _, number in public_functions() if number > most[name]] == []


def without_class(name):
    """The name of a method without that of its class."""
    return re.sub(r"\.[A-Z]\w*(?=\.\w+$)", "", name)


def test_functions_of_four_arguments_describe_them():
    """A method may leave the description to the one that it overrides."""
    functions = list(public_functions())
    described = {without_class(name) for name, node, _ in functions if "Parameters" in (ast.get_docstring(node) or "")}
    assert [name for name, _, number in functions if number >= 4 and without_class(name) not in described] == []


@pytest.mark.parametrize(("module", "name"), list(examples()))
def test_examples_run(module, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    documented = importlib.import_module(module)
    for part in name.split("."):
        documented = (
            inspect.getattr_static(documented, part) if inspect.isclass(documented) else getattr(documented, part)
        )
    documented = getattr(documented, "__func__", getattr(documented, "fget", None)) or documented
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report = []
    for test in doctest.DocTestFinder(recurse=False).find(documented, name, globs={}):
        runner.run(test, out=report.append)
    failed = runner.summarize(verbose=False).failed
    assert failed == 0, "".join(report)


def test_no_example_is_skipped():
    assert [module for module, path in SOURCES.items() if "doctest: +SKIP" in path.read_text()] == []
