"""Digests of source code that change with what the code does, and not with comments, docstrings or layout."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path


def code_digest(paths: Iterable[Path]) -> str:
    """Digest of source files: Python by its syntax tree without docstrings, other files by their bytes.

    Parameters
    ----------
    paths : iterable of pathlib.Path
        Files, or folders with Python, JSON and TOML files. Their order does not matter.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    files = {file for path in paths for file in ([path] if path.is_file() else _sources(path))}
    digest = hashlib.sha256()
    for file in sorted(files):
        text = file.read_bytes()
        digest.update(_syntax(text.decode()).encode() if file.suffix == ".py" else text)
    return digest.hexdigest()[:16]


def _sources(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in (".py", ".json", ".toml")]


def _syntax(source: str) -> str:
    """The syntax tree of Python source as text, without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
