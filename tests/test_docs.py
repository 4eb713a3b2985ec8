"""Generated pages of the docs are up to date."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_parameter_table_is_that_of_the_code():
    """After a change of a parameter, `make docs` generates the page again."""
    page = runpy.run_path(str(DOCS / "tables.py"))["text"]()
    assert (DOCS / "parameters.md").read_text() == page
