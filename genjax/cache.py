"""Where what is expensive to make again is kept between runs, and where a home folder is not."""

import os
from pathlib import Path

from genjax.errors import UserError

_REMEDY = "set GENJAX_CACHE to a folder"


def cache_directory() -> Path:
    """Says where trained feature networks and features of references lie.

    Returns:
      ``$GENJAX_CACHE``, else ``$XDG_CACHE_HOME/genjax``, else ``~/.cache/genjax``; the folder need
      not exist.

    Raises:
      UserError: it lies at home, and there is no home folder.
    """
    own = os.environ.get("GENJAX_CACHE")
    if own:
        return expand_home(own, _REMEDY)
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expand_home(shared, _REMEDY) / "genjax"


def expand_home(path: str, remedy: str) -> Path:
    """Replaces a ``~`` at the start of a path.

    Args:
      path: any.
      remedy: what to do where that fails, in words.

    Returns:
      The path.

    Raises:
      UserError: there is no such home folder, as in a container whose user has no entry.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path} is nowhere: there is no such home folder; {remedy}") from None
