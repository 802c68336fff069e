"""Digests beside what is written, by which damage is noticed before anything is believed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genjax.errors import UserError

_DIGEST = "sha256"


class Damaged(UserError):
    """A checkpoint is not what was saved."""


def seal(noted: Mapping[str, Any]) -> dict[str, Any]:
    """Adds a digest of all that is noted."""
    text = json.dumps(noted, sort_keys=True)
    return {**noted, _DIGEST: hashlib.sha256(text.encode()).hexdigest()}


def unseal(path: Path, field: str | None = None) -> dict[str, Any]:
    """Reads what `seal` has made.

    Args:
      path: of a JSON file.
      field: of it, where the file holds more; None for the whole file.

    Returns:
      What was noted.

    Raises:
      Damaged: it is missing, or differs.
    """
    try:
        sealed = json.loads(path.read_text(encoding="utf-8"))
        sealed = sealed if field is None else sealed[field]
        noted = {name: value for name, value in sealed.items() if name != _DIGEST}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Damaged(f"{path} is missing or damaged") from None
    if seal(noted) != sealed:
        raise Damaged(f"{path} is missing or damaged")
    return noted


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; raises OSError where it can't be read."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
