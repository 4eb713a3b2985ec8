"""What pages of studies share: one file, no network, light and dark, wide and narrow; figures as SVG and as PNG."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import jinja2
import markupsafe
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

#: Ink of figures, which pages of either theme replace by their own; and what stands back.
INK, GREY = "#010203", "#9a9fa8"

#: Of figures, for matplotlib.
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

_CSS = """
:root { color-scheme: light dark; --text: #1d1f23; --quiet: #666c75; --line: #d9dce1; --page: #ffffff; --card: #f6f7f9;
--good: #1f7a4d; --bad: #b3412f; }
@media (prefers-color-scheme: dark) { :root { --text: #e7e9ec; --quiet: #9aa1ab; --line: #3a3f47; --page: #16181c;
--card: #1f2227; --good: #5fc792; --bad: #ef8b77; } }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 1200px; margin: 0 auto; padding: 1.5rem 1rem 4rem; color: var(--text);
background: var(--page); }
h1 { line-height: 1.2; margin: .5rem 0 1rem; } h2 { margin: 2.6rem 0 .6rem; border-top: 1px solid var(--line);
padding-top: 1.4rem; }
p { max-width: 75ch; } small, .quiet { color: var(--quiet); } .lead { font-size: 1.12rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
td, th { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; } td:first-child, th:first-child, .words { text-align: left; } td.words { white-space: normal;
min-width: 13rem; }
.best { font-weight: 700; } tr.own td:first-child { font-weight: 700; } .yes { color: var(--good); } .no { color: var(--bad); }
.wide { overflow-x: auto; } .tiles { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); }
.tiles figure { margin: 0; } figcaption { font-size: .9rem; font-weight: 600; }
figcaption small { display: block; font-weight: 400; }
svg { max-width: 100%; height: auto; } .wide svg { min-width: 720px; }
.tiles svg { width: 100%; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin: .8rem 0; font-size: .9rem; }
.key span::before { content: ""; display: inline-block; width: 1.1em; height: .25em; margin-right: .4em; vertical-align: middle;
background: var(--of); }
"""


def rendered(template: str, **told: Any) -> str:
    """A page of a Jinja template, whose style sheet is `style`."""
    return jinja2.Environment(autoescape=True).from_string(template).render(style=markupsafe.Markup(_CSS), **told)


def svg(figure: Figure, path: Path) -> str:
    """A figure as SVG for a page of either theme; and written as PNG."""
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None}, facecolor="white")
    text = io.StringIO()
    with plt.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    drawn = text.getvalue()
    # Without its prologue and metadata, its identifiers its own among the other figures'.
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)
    drawn = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{path.stem}-", drawn)
    return drawn.replace(INK, "currentColor")
