"""From text to tokens and back.

A tokenizer is a part of the facts of a data set, plain JSON, so that whoever has a run can read
what it writes:

- ``{"tokenizer": "character", "vocabulary": [...]}``, the characters in the order of their numbers;
- ``{"tokenizer": "byte"}``, the 256 bytes of UTF-8;
- ``{"tokenizer": "bpe", "definition": ...}``, byte pairs in the JSON of the library `tokenizers`;
- ``{"tokenizer": "wordpiece", "vocabulary": [...]}``, the pieces of words of a model such as BERT
  in the order of their numbers, see `genjax.domains.wordpiece`.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Int, Int32

from genjax.distribution import install_extra
from genjax.domains import wordpiece
from genjax.errors import UserError, lookup, reason

Facts: TypeAlias = Mapping[str, Any]

BYTES = 256
"""Smallest vocabulary of byte pairs: the bytes alone."""
MOST = 2**20
"""Largest vocabulary."""

_PAIRS = 1024
_PIECE = 2**16
# Between two words, so that no pair is torn apart.
_CUT = re.compile(r"(?<=\S)\n(?=\S)")
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"


class Tokenizer(NamedTuple):
    """A way to cut text into tokens.

    Attributes:
      fit: ``(text, vocabulary) -> facts`` but for the name; `vocabulary` is a size, or None.
      size: number of tokens there are.
      encoder: ``facts -> (text -> tokens)``, int32 [n]; the text can be written in UTF-8.
      decode: ``(facts, tokens) -> text``; unknown tokens leave a mark or nothing.
    """

    fit: Callable[[str, int | None], dict[str, Any]]
    size: Callable[[Facts], int]
    encoder: Callable[[Facts], Callable[[str], np.ndarray]]
    decode: Callable[[Facts, np.ndarray], str]


def fit(name: str, text: str, vocabulary: int | None = None) -> dict[str, Any]:
    """Makes a tokenizer for a text.

    Args:
      name: one of `TOKENIZERS`.
      text: what it must be able to write, and what byte pairs are counted in.
      vocabulary: how many byte pairs and bytes, at most; None for 1,024. Only for ``bpe``.

    Returns:
      The facts of the tokenizer.

    Raises:
      UserError: there is no such tokenizer, it has no size to choose, or a package is missing.

    Example:
      >>> fit("character", "hello")
      {'tokenizer': 'character', 'vocabulary': ['e', 'h', 'l', 'o']}
    """
    chosen = lookup(TOKENIZERS, name, "tokenizer")
    if vocabulary is not None and name != "bpe":
        raise UserError(f"vocabulary is {vocabulary}, which only bpe can choose, not {name}")
    return {"tokenizer": name, **chosen.fit(text, vocabulary)}


def vocabulary_size(facts: Facts) -> int:
    """How many tokens there are.

    Raises:
      UserError: the facts name no tokenizer, or are damaged.
    """
    return _chosen(facts).size(facts)


def encode(facts: Facts, text: str) -> Int32[np.ndarray, "n"]:
    """Cuts a text into tokens.

    Args:
      facts: of a data set.
      text: any.

    Returns:
      int32 [n].

    Raises:
      UserError: the text has a character that the tokenizer doesn't know.

    Example:
      >>> encode({"tokenizer": "byte"}, "hé").tolist()
      [104, 195, 169]
    """
    return make_encoder(facts)(text)


def make_encoder(facts: Facts) -> Callable[[str], Int32[np.ndarray, "n"]]:
    """Prepares to cut many texts into tokens, each as `encode` does.

    Args:
      facts: of a data set.

    Returns:
      From a text to int32 [n]; it raises UserError where the text has a character that the
      tokenizer doesn't know.

    Raises:
      UserError: the facts name no tokenizer, or are damaged.
    """
    cut = _chosen(facts).encoder(facts)

    def encode(text: str) -> np.ndarray:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            wrong = text[error.start]
            raise UserError(f"the text has {wrong!r} at {error.start}, no character") from None
        return cut(text)

    return encode


def decode(facts: Facts, tokens: Int[np.ndarray, "n"]) -> str:
    """Writes tokens as the text that they stand for.

    Args:
      facts: of a data set.
      tokens: integers [n].

    Returns:
      The text. Bytes that are no UTF-8 become the replacement character.

    Raises:
      UserError: the facts name no tokenizer, or are damaged.

    Example:
      >>> decode({"tokenizer": "character", "vocabulary": ["a", "b"]}, np.array([1, 0]))
      'ba'
    """
    return _chosen(facts).decode(facts, np.asarray(tokens))


def _chosen(facts: Facts) -> Tokenizer:
    return lookup(TOKENIZERS, str(facts.get("tokenizer")), "tokenizer of the data")


def _fit_characters(text: str, vocabulary: int | None) -> dict[str, Any]:
    return {"vocabulary": sorted(set(text))}


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _characters(facts: Facts) -> list[str]:
    found = facts.get("vocabulary")
    vocabulary = found if isinstance(found, list) else []
    single = all(isinstance(entry, str) and len(entry) == 1 for entry in vocabulary)
    if not single or len(set(vocabulary)) < len(vocabulary) or not 0 < len(vocabulary) <= MOST:
        raise UserError("the vocabulary of the data is damaged: it must be a list of characters")
    return vocabulary


def _character_encoder(facts: Facts) -> Callable[[str], np.ndarray]:
    vocabulary = _characters(facts)
    known = _codes("".join(vocabulary))
    order = np.argsort(known)

    def encode(text: str) -> np.ndarray:
        wanted = _codes(text)
        places = np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)
        tokens = order[places]
        unknown = known[tokens] != wanted
        if unknown.any():
            first = int(np.argmax(unknown))
            raise UserError(
                f"the text has {text[first]!r} at {first}, which is not among the "
                f"{len(vocabulary)} characters of the data"
            )
        return tokens.astype(np.int32)

    return encode


def _decode_characters(facts: Facts, tokens: np.ndarray) -> str:
    vocabulary = _characters(facts)
    return "".join(vocabulary[t] if 0 <= t < len(vocabulary) else _UNKNOWN for t in tokens)


def _encode_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)


def _decode_bytes(facts: Facts, tokens: np.ndarray) -> str:
    return tokens.astype(np.uint8).tobytes().decode(errors="replace")


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise UserError(
            f"byte pairs need the package tokenizers: {install_extra('text')}"
        ) from error
    return tokenizers


def _pieces(text: str) -> Iterator[str]:
    """Cuts a text where it makes no difference to byte pairs, so that it needs less memory."""
    start = 0
    while start < len(text):
        cut = _CUT.search(text, start + _PIECE)
        end = cut.end() if cut else len(text)
        yield text[start:end]
        start = end


def _fit_pairs(text: str, vocabulary: int | None) -> dict[str, Any]:
    size = _PAIRS if vocabulary is None else vocabulary
    if not BYTES <= size <= MOST:
        raise UserError(f"vocabulary must be at least {BYTES}, at most {MOST:,}, got {size}")
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_pieces(text), trainer)
    return {"definition": tokenizer.to_str()}


@functools.lru_cache(maxsize=4)
def _parsed(definition: str) -> Any:
    try:
        return _library().Tokenizer.from_str(definition)
    except UserError:
        raise
    # The library raises nothing more special.
    except Exception as error:
        raise UserError(f"the tokenizer of the data is damaged: {reason(error)}") from error


def _pairs(facts: Facts) -> Any:
    return _parsed(str(facts.get("definition")))


def _pair_encoder(facts: Facts) -> Callable[[str], np.ndarray]:
    tokenizer = _pairs(facts)

    def encode(text: str) -> np.ndarray:
        parts = [np.array(tokenizer.encode(piece).ids, np.int32) for piece in _pieces(text)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)

    return encode


def _refuse_to_fit(text: str, vocabulary: int | None) -> dict[str, Any]:
    raise UserError(
        "wordpiece cuts captions by a model's vocabulary; give its vocab.txt as --vocabulary-file"
    )


def _words(facts: Facts) -> list[str]:
    try:
        return wordpiece.check_vocabulary(facts.get("vocabulary"), MOST)
    except ValueError as error:
        raise UserError(f"the vocabulary of the data is damaged: {reason(error)}") from error


TOKENIZERS: dict[str, Tokenizer] = {
    "character": Tokenizer(
        _fit_characters,
        lambda facts: len(_characters(facts)),
        _character_encoder,
        _decode_characters,
    ),
    "byte": Tokenizer(
        lambda text, vocabulary: {},
        lambda facts: BYTES,
        lambda facts: _encode_bytes,
        _decode_bytes,
    ),
    "bpe": Tokenizer(
        _fit_pairs,
        lambda facts: int(_pairs(facts).get_vocab_size()),
        _pair_encoder,
        lambda facts, tokens: _pairs(facts).decode(tokens.tolist(), skip_special_tokens=False),
    ),
    "wordpiece": Tokenizer(
        _refuse_to_fit,
        lambda facts: len(_words(facts)),
        lambda facts: wordpiece.make_encoder(_words(facts)),
        lambda facts, tokens: wordpiece.decode_pieces(_words(facts), tokens),
    ),
}
"""Tokenizers by name."""
