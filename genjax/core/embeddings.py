"""Embeddings of images as a field of the data, and what the facts of such data say of them."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from genjax.errors import UserError

EMBEDDING = "embedding"
"""The field of embeddings, float32 (dimensions,), of length 1; and the fact that tells of them."""


def embedding_facts(run: str, shown: Float[np.ndarray, "n size"]) -> dict[str, Any]:
    """What a data set says of its embeddings.

    Args:
      run: that made them, by its folder, step and digest.
      shown: of the images of the prompts, in their order, or of some held-out images of data
        without captions.

    Returns:
      The facts, as JSON can hold them.
    """
    content = np.ascontiguousarray(shown, "<f4").tobytes()
    return {EMBEDDING: {"run": run, "shown": base64.b64encode(content).decode()}}


def embedded_by(facts: Mapping[str, Any]) -> str:
    """The run that made the embeddings of a data set; raises UserError where none is named."""
    found = facts.get(EMBEDDING)
    # A manifest may say anything.
    name = found.get("run") if isinstance(found, dict) else None
    if not isinstance(name, str):
        raise UserError(
            "the data do not say which run their embeddings are of; make them by genjax data embed"
        )
    return name


def shown_embeddings(facts: Mapping[str, Any], size: int) -> Float[np.ndarray, "n size"] | None:
    """The embeddings that facts name, to show samples of.

    Args:
      facts: of the data.
      size: of an embedding.

    Returns:
      float32 [n, size], at least one; None where there are none that can be used.

    Example:
      >>> shown_embeddings(embedding_facts("runs/a@1#0", np.eye(2)), 2).tolist()
      [[1.0, 0.0], [0.0, 1.0]]
    """
    found = facts.get(EMBEDDING)
    text = found.get("shown") if isinstance(found, dict) else None
    if not isinstance(text, str):
        return None
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not content or len(content) % (4 * size):
        return None
    rows = np.frombuffer(content, "<f4").reshape(-1, size).astype(np.float32)
    return rows if np.isfinite(rows).all() else None
