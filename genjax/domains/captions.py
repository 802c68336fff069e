"""Captions: texts as rows of tokens, each as long as the longest, with -1 behind the shorter."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int, Int32

from genjax.core.schema import Field
from genjax.domains import tokenizers, wordpiece
from genjax.domains.tokenizers import Facts

_SHOWN = 40


def make_caption_encoder(facts: Facts) -> Callable[[str], Int32[np.ndarray, "n"]]:
    """Prepares to cut captions into tokens.

    Args:
      facts: of a data set, with its tokenizer.

    Returns:
      From a text to int32 [n]. Of WordPiece it begins with ``[CLS]`` and ends with ``[SEP]``; of a
      text without a token nothing is left, not even these.

    Raises:
      UserError: the facts name no tokenizer, or are damaged.
    """
    encode = tokenizers.make_encoder(facts)
    if facts.get("tokenizer") != "wordpiece":
        return encode
    begin, end = (facts["vocabulary"].index(mark) for mark in (wordpiece.BEGIN, wordpiece.END))

    def encode_between(text: str) -> np.ndarray:
        tokens = encode(text)
        return np.array([begin, *tokens, end], np.int32) if len(tokens) else tokens

    return encode_between


def pad_caption(facts: Facts, tokens: Int32[np.ndarray, "n"], length: int) -> np.ndarray:
    """Brings a caption to a length.

    Args:
      facts: of the data set.
      tokens: int32 [n], from `make_caption_encoder`.
      length: wanted; a longer caption is cut, and of WordPiece still ends with ``[SEP]``.

    Returns:
      int32 [length], -1 behind the tokens.
    """
    row = np.full(length, -1, np.int32)
    row[: len(tokens)] = tokens[:length]
    if len(tokens) > length and facts.get("tokenizer") == "wordpiece":
        row[-1] = tokens[-1]
    return row


def encode_prompts(
    facts: Facts, field: Field, texts: Sequence[str]
) -> tuple[Int32[np.ndarray, "n 1 length"], list[str]]:
    """Cuts texts into tokens, to generate from them.

    Args:
      facts: of the data set, with its tokenizer.
      field: of the captions, whose shape is (candidates, length).
      texts: one for each example; an empty one stands for no caption.

    Returns:
      Tokens, int32 [n, 1, length], -1 behind a text; and a sentence for each text that is cut.

    Raises:
      UserError: a text has a character that the tokenizer doesn't know, or the facts are damaged.
    """
    length = field.shape[-1]
    encode = make_caption_encoder(facts)
    found = [encode(text) for text in texts]
    rows = np.full((len(texts), 1, length), -1, np.int32)
    for row, tokens in zip(rows, found, strict=True):
        row[0] = pad_caption(facts, tokens, length)
    warnings = [
        f"the caption {_short(text)!r} has {len(tokens)} tokens and is cut to {length}"
        for text, tokens in zip(texts, found, strict=True)
        if len(tokens) > length
    ]
    return rows, warnings


def decode_caption(facts: Facts, tokens: Int[np.ndarray, "length"]) -> str:
    """Writes a caption as the text that it stands for.

    Args:
      facts: of the data set, with its tokenizer.
      tokens: integers [length]; those below 0 are none.

    Returns:
      The text; empty where there is no caption.

    Example:
      >>> decode_caption({"tokenizer": "byte"}, np.array([104, 105, -1, -1]))
      'hi'
    """
    tokens = np.asarray(tokens)
    return tokenizers.decode(facts, tokens[tokens >= 0])


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
