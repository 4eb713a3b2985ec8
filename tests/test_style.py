"""Words and phrases that the code and the docs avoid, with what to write instead."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

WORDS = {
    r"told|tells": "what the variable holds; returns, gives",
    r"heard|hears?": "receives input from; afferents",
    r"begun|anew": "started; again",
    r"so many": "n, a number of",
    r"by chance": "random",
    r"whatever": "any, for every",
    r"stands? still": "static",
    r"not accepted": "X must be Y, got Z",
    r"what it says|is come by": "the noun for it",
    r"of which": "whose, with",
}

FILES = [
    path
    for folder in ("biomodel", "bridge", "studies", "benchmarks", "docs")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".md", ".toml", ".j2") and path.relative_to(ROOT).parts[:2] != ("studies", "results")
]
FILES += sorted(ROOT.glob("*.md"))


@pytest.mark.parametrize("words", WORDS)
def test_plain_words(words):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(rf"\b({words})\b", line)
    ]
    assert not found, f"write instead: {WORDS[words]}\n" + "\n".join(found)
