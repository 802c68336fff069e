"""Tokens: numbers of a vocabulary, shown as the text that they stand for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int

from genjax.domains import tokenizers
from genjax.domains.domain import Domain, Layout, Samples, Text

_BINS = 256


def token_frequencies(
    tokens: Int[np.ndarray, "n length"], vocabulary: int = _BINS
) -> Float[np.ndarray, "n bins"]:
    """Counts how often each example has each token.

    Args:
      tokens: integers [n, length], at least 0.
      vocabulary: number of tokens there are; those of more than 256 share a bin where they are
        equal modulo 256.

    Returns:
      float64 [n, min(vocabulary, 256)]; each row sums to 1.

    Example:
      >>> token_frequencies(np.array([[0, 1, 1, 1]]), vocabulary=3).tolist()
      [[0.25, 0.75, 0.0]]
    """
    bins = min(vocabulary, _BINS)
    count, length = tokens.shape
    rows = tokens.astype(np.int64) % bins + bins * np.arange(count)[:, None]
    return np.bincount(rows.reshape(-1), minlength=count * bins).reshape(count, bins) / length


def _coarse(samples: Any, facts: Mapping[str, Any]) -> Float[np.ndarray, "n bins"]:
    if "tokenizer" not in facts:
        return token_frequencies(np.asarray(samples))
    return token_frequencies(np.asarray(samples), tokenizers.vocabulary_size(facts))


def _read(tokens: np.ndarray, facts: Mapping[str, Any]) -> str:
    # Tokens need not stand for text: those of a learnt codebook are but numbers.
    if "tokenizer" not in facts:
        return " ".join(map(str, tokens.tolist()))
    return tokenizers.decode(facts, tokens)


def render_tokens(samples: Samples, facts: Mapping[str, Any], layout: Layout) -> list[Text]:
    """Writes samples as text, each below a line with its number, and above them the others.

    Args:
      samples: int32 [n, length].
      facts: of the data, with the tokenizer; without one the numbers are shown.
      layout: what stands above.

    Returns:
      One text.
    """
    panels = {**layout.above, "sample": samples}
    parts = [
        f"--- {name} {number} ---\n{_read(tokens, facts)}\n"
        for name, rows in panels.items()
        for number, tokens in enumerate(rows)
    ]
    return [Text("".join(parts))]


def _same(tokens: Array) -> Array:
    return tokens


TOKENS = Domain(
    field="tokens",
    plural="tokens",
    axes=1,
    to_model=_same,
    to_stored=_same,
    model_field=lambda field: field,
    render=render_tokens,
    pictured=8,
    coarse=_coarse,
    coarse_name="token_frechet",
    shown=(Text,),
    single=lambda sample, facts: Text(_read(sample, facts)),
)
