"""The table of all faults."""

from __future__ import annotations

import re
import statistics
from typing import Any


def line(found: dict[str, Any]) -> str:
    """One fault in one line."""
    verdict = found["skipped"] or "; ".join(found["problems"]) or "survived"
    head = f"{found['kind']} {found['index']}: {found['fault']} at {found['share']:.0%}"
    return f"{head} ({found['seconds']:.0f} s): {verdict}  [{found['ended']}]"


def table(found: list[dict[str, Any]]) -> str:
    """A Markdown table with a row for each kind."""
    rows = [
        "| kind | faults | survived | skipped | median share | median seconds | what the user sees |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in dict.fromkeys(one["kind"] for one in found):
        some = [one for one in found if one["kind"] == kind]
        tried = [one for one in some if not one["skipped"]]
        survived = sum(not one["problems"] for one in tried)
        share = f"{statistics.median(one['share'] for one in tried):.2f}" if tried else ""
        seconds = f"{statistics.median(one['seconds'] for one in tried):.0f}" if tried else ""
        reasons = {one["skipped"] for one in some if one["skipped"]}
        skipped = f"{len(some) - len(tried)}: {', '.join(sorted(reasons))}" if reasons else "0"
        rows.append(f"| {kind} | {len(tried)} | {survived} | {skipped} | {share} | {seconds} | {_seen(tried)} |")
    return "\n".join(rows)


def _seen(found: list[dict[str, Any]]) -> str:
    """The last line that users see most often, without the folder of the fault."""
    lines = [re.sub(r"\S*/trials/[^/ ]*/", "", one["ended"]).replace("|", "\\|") for one in found if one["ended"]]
    return f"`{max(lines, key=lines.count)}`" if lines else "nothing"
