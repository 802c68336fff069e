"""Where what is expensive to make again is kept between runs."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """Says where trained feature networks and features of references lie.

    Returns:
      ``$GENJAX_CACHE``, else ``$XDG_CACHE_HOME/genjax``, else ``~/.cache/genjax``; the folder need
      not exist.
    """
    own = os.environ.get("GENJAX_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(shared).expanduser() / "genjax"
