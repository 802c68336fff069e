"""Vocabularies that come with a model: BERT's ``vocab.txt``, a token a line."""

from pathlib import Path
from typing import Any

from genjax.errors import UserError, reason

_MOST_BYTES = 2**25
_MOST_TOKENS = 2**20
_LONGEST = 512


def read_vocabulary(path: Path) -> dict[str, Any]:
    """Reads the vocabulary of a WordPiece tokenizer.

    Args:
      path: a text in UTF-8, a token a line in the order of their numbers, with ``[UNK]``,
        ``[CLS]`` and ``[SEP]`` among them.

    Returns:
      The facts of the tokenizer, see `genjax.domains.tokenizers`.

    Raises:
      UserError: it can't be read, or is no such vocabulary.
    """
    from genjax.domains import wordpiece  # Brings JAX, which a look at the disk does without.

    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read the vocabulary {path}: {error.strerror}") from error
    try:
        if len(content) > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
        # Not splitlines: to that, a token may be a line break.
        lines = content.decode("utf-8-sig").removesuffix("\n").split("\n")
        tokens = [line.removesuffix("\r") for line in lines]
        long = next((n for n, token in enumerate(tokens) if not 0 < len(token) <= _LONGEST), None)
        if long is not None:
            raise ValueError(f"line {long + 1:,} has {len(tokens[long]):,} characters")
        wordpiece.check_vocabulary(tokens, _MOST_TOKENS)
    # That of UTF-8 is a ValueError, too.
    except ValueError as error:
        raise UserError(
            f"{path} is no vocabulary of WordPiece: {reason(error)}; give a model's vocab.txt, "
            "with a token a line"
        ) from error
    return {"tokenizer": "wordpiece", "vocabulary": tokens}
