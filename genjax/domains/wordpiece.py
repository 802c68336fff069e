"""WordPiece as in BERT's uncased models: words and punctuation, cut into the longest known pieces.

Text is cleaned of control characters, accents and capitals; what a vocabulary can't write becomes
``[UNK]``. Marks such as ``[CLS]`` within a text are text.

Reference: Devlin et al. 2019 (BERT), section 3 and its published code, ``tokenization.py``; of the
cases in which that and the library `tokenizers` differ, as the library.
"""

import functools
import itertools
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

UNKNOWN, BEGIN, END = "[UNK]", "[CLS]", "[SEP]"
"""Tokens that every vocabulary has: of a word without pieces, and around a text."""

_WITHIN = "##"
# A longer word is unknown.
_LONGEST = 100
# Chinese characters, each a word.
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


def check_vocabulary(vocabulary: Any, most: int) -> list[str]:
    """Checks a vocabulary.

    Args:
      vocabulary: the tokens, in the order of their numbers.
      most: how many there may be.

    Returns:
      The vocabulary.

    Raises:
      ValueError: it is none; the message says why.
    """
    if not isinstance(vocabulary, list) or not all(isinstance(x, str) for x in vocabulary):
        raise ValueError("it is no list of tokens")
    if len(vocabulary) > most:
        raise ValueError(f"it has {len(vocabulary):,} tokens, more than {most:,}")
    numbers: dict[str, int] = {}
    for number, token in enumerate(vocabulary):
        if numbers.setdefault(token, number) != number:
            raise ValueError(f"token {number:,}, {token!r}, is there before")
    for token in (UNKNOWN, BEGIN, END):
        if token not in numbers:
            raise ValueError(f"it lacks {token}")
    return vocabulary


def make_encoder(vocabulary: Sequence[str]) -> Callable[[str], np.ndarray]:
    """Prepares the tokenizer of a vocabulary.

    Args:
      vocabulary: the tokens, in the order of their numbers.

    Returns:
      From a text to int32 [n], without ``[CLS]`` and ``[SEP]``.
    """
    numbers = {token: number for number, token in enumerate(vocabulary)}

    @functools.lru_cache(maxsize=2**16)
    def of_word(word: str) -> tuple[int, ...]:
        return _pieces(numbers, word)

    def encode(text: str) -> np.ndarray:
        found = (of_word(word) for word in _words(text))
        return np.fromiter(itertools.chain.from_iterable(found), np.int32)

    return encode


def decode_pieces(vocabulary: Sequence[str], tokens: np.ndarray) -> str:
    """Joins pieces to words with a space between them; what stands around a text is left out."""
    words: list[str] = []
    for token in tokens.tolist():
        known = 0 <= token < len(vocabulary)
        piece = vocabulary[token] if known else "\N{REPLACEMENT CHARACTER}"
        if piece in (BEGIN, END):
            continue
        if piece.startswith(_WITHIN) and words:
            words[-1] += piece.removeprefix(_WITHIN)
        else:
            words.append(piece)
    return " ".join(words)


def _pieces(numbers: Mapping[str, int], word: str) -> tuple[int, ...]:
    """The longest known beginning, then the longest of what is left, and so on."""
    unknown = (numbers[UNKNOWN],)
    if len(word) > _LONGEST:
        return unknown
    found, start = [], 0
    while start < len(word):
        mark = _WITHIN if start else ""
        ends = range(len(word), start, -1)
        end = next((end for end in ends if mark + word[start:end] in numbers), None)
        if end is None:
            return unknown
        found.append(numbers[mark + word[start:end]])
        start = end
    return tuple(found)


def _words(text: str) -> Iterator[str]:
    """Words and signs of punctuation, in lower case and without accents."""
    spaced = "".join(map(_clean, text))
    bare = "".join(
        character.lower()
        for character in unicodedata.normalize("NFD", spaced)
        if unicodedata.category(character) != "Mn"
    )
    for word in bare.split():
        alone = [_is_punctuation(character) for character in word]
        for signs, group in itertools.groupby(zip(word, alone, strict=True), lambda pair: pair[1]):
            letters = [character for character, _ in group]
            yield from letters if signs else ["".join(letters)]


def _clean(character: str) -> str:
    if character.isspace() and character not in "\x0b\x0c\x1c\x1d\x1e\x1f\x85":
        return " "
    if unicodedata.category(character) in ("Cc", "Cf", "Co") or character == "\ufffd":
        return ""
    code = ord(character)
    return f" {character} " if any(a <= code <= b for a, b in _IDEOGRAPHS) else character


def _is_punctuation(character: str) -> bool:
    # BERT counts all of ASCII's signs, such as $ and ~.
    sign = character.isascii() and character.isprintable() and not character.isalnum()
    return sign or unicodedata.category(character).startswith("P")
