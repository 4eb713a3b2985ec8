"""HTML pages of studies: one file without network access, in light and dark themes; figures as SVG and as PNG."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import jinja2
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from biomodel.utils.paths import replacing

#: Colour of text and axes in figures, which pages replace by that of their theme; and a grey for the background.
INK, GREY = "#010203", "#9a9fa8"

#: Settings of matplotlib for figures.
FIGURES: Any = {
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
}

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("studies.reporting"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
)


def render(template: str, **context: Any) -> str:
    """Return the page of a template in ``studies/reporting/templates``.

    Parameters
    ----------
    template : str
        File name, such as ``"luminance.html.j2"``; it extends ``base.html.j2``.
    context : Any
        The template's variables. A missing one raises `jinja2.UndefinedError`.
    """
    return _TEMPLATES.get_template(template).render(**context)


def svg(figure: Figure, path: Path) -> str:
    """Return a figure as SVG for a page of either theme, write it as PNG to a path, and close it."""
    with replacing(path) as scratch:
        figure.savefig(scratch, dpi=110, bbox_inches="tight", metadata={"Software": None}, facecolor="white")
    text = io.StringIO()
    with plt.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    drawn = text.getvalue()
    # Remove the prologue and metadata, and make identifiers unique in the page.
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)
    drawn = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{path.stem}-", drawn)
    return drawn.replace(INK, "currentColor")
