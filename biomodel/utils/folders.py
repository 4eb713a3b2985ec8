"""The user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

#: How the cache folder is chosen, for messages.
CHOOSE_CACHE = "set PRECORTICAL_CACHE (or XDG_CACHE_HOME) to choose another folder"


def user_cache() -> Path:
    """The folder for what can be made or downloaded again.

    It is `PRECORTICAL_CACHE` where that is set, and otherwise ``precortical`` in the user's cache folder, which
    `XDG_CACHE_HOME` changes.
    """
    chosen = os.environ.get("PRECORTICAL_CACHE") or platformdirs.user_cache_dir("precortical")
    return Path(os.path.expanduser(chosen)).absolute()
