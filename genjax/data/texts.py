"""Turns text into a stored stream of tokens."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genjax.data import folders, stored
from genjax.data.corpora import TEXTS, WINDOW, StandardText
from genjax.data.digest import ragged_digest
from genjax.data.imports import Imported, Request
from genjax.data.schema import token_schema
from genjax.errors import UserError

ACCEPTED = (
    "accepted: a .txt, or a folder of .txt, perhaps in train/, validation/ and test/ or named so"
)
"""What an import of text accepts, for errors."""

_KIND = folders.Kind((".txt",), ".txt", "texts", ACCEPTED)
# Numbers of windows go through a permutation of 32 bits.
_MOST_TOKENS = 2**31 - 1


def import_text(request: Request) -> Imported:
    """Imports a text: one file, or several joined in the order of their names.

    Where nothing says what is for testing, the last tenth of the characters is.

    Args:
      request: what is asked for.

    Returns:
      A summary; it counts tokens.

    Raises:
      UserError: a file is no text in UTF-8, or there is too little. Nothing is stored then.
    """
    from genjax.domains import tokenizers  # Brings JAX, which a look at the disk does without.

    standard = TEXTS.get(request.name)
    files = _find(request.source, standard)
    texts = {split: _join(paths) for split, paths in files.items()}
    warnings = _compare(request.name, standard, files["train"])
    if files.keys() == {"train"}:
        whole = texts["train"]
        # At the same character as nanoGPT.
        end = len(whole) * 9 // 10
        texts = {"train": whole[:end], "test": whole[end:]}
    name = request.tokenizer or "character"
    # Characters must be known wherever they occur; pairs are counted in what is learnt from.
    seen = texts["train"] if name == "bpe" else "".join(texts.values())
    facts = tokenizers.fit(name, seen, request.vocabulary)
    vocabulary = tokenizers.vocabulary_size(facts)
    kind = np.uint8 if vocabulary <= 2**8 else np.uint16 if vocabulary <= 2**16 else np.int32
    splits, counts = {}, {}
    with stored.storing(request.name, request.directory) as folder:
        steps = request.progress(texts.items(), f"storing {request.name}", len(texts))
        for split, text in steps:
            tokens = tokenizers.encode(facts, text).astype(kind)
            _check_length(request.source, split, len(tokens))
            (folder / split).mkdir()
            np.save(folder / split / "tokens.npy", tokens)
            splits[split] = stored.Split(len(tokens), ragged_digest([{"tokens": tokens}]))
            counts[split] = len(tokens)
        stored.describe(folder, token_schema(WINDOW, vocabulary, facts), splits)
    return Imported(
        request.name,
        request.directory / request.name / stored.VERSION,
        counts,
        f"tokens of a vocabulary of {vocabulary:,} ({name})",
        warnings=warnings,
    )


def _check_length(source: Path, split: str, count: int) -> None:
    if split == "train" and count < WINDOW:
        raise UserError(
            f"{source} gives {count} tokens to train on, less than a window of {WINDOW}; give more"
        )
    if not 0 < count <= _MOST_TOKENS:
        raise UserError(
            f"{source} gives {count:,} tokens for {split}; needed: 1 to {_MOST_TOKENS:,}"
        )


def _find(source: Path, standard: StandardText | None) -> dict[str, list[Path]]:
    """Lists the files of each split."""
    if source.is_file():
        return {"train": [source]}
    if standard is not None:
        found = [source / name for name in standard.members if (source / name).is_file()]
        if found:
            return {"train": found[:1]}
    inside = {path.stem: path for path in folders.entries(source, _KIND.suffixes)[1]}
    if "train" in inside and inside.keys() <= {*folders.SPLITS}:
        folders.find(source, _KIND)
        return {split: [inside[split]] for split in folders.SPLITS if split in inside}
    listed = folders.find(source, _KIND)
    if listed.class_names is not None:
        raise UserError(
            f"{source} has folders such as {listed.class_names[0]!r}, but text has no classes; "
            f"{ACCEPTED}"
        )
    if "train" not in listed.files:
        raise UserError(f"{source} has no train/; {ACCEPTED}")
    return {split: list(files) for split, files in listed.files.items()}


def _join(paths: Sequence[Path]) -> str:
    """Reads texts; each begins on a line of its own."""
    parts = [_read(path) for path in paths]
    ended = [part if part.endswith("\n") else f"{part}\n" for part in parts[:-1]]
    return "".join([*ended, parts[-1]])


def _read(path: Path) -> str:
    content = folders.read_bytes(path)
    if not content:
        raise UserError(f"{path} is empty (0 bytes); remove it or get it again")
    try:
        # What some editors put at the beginning is no character of the text.
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} isn't UTF-8: {error.reason} at byte {error.start:,}; convert it or remove it"
        ) from error


def _compare(name: str, standard: StandardText | None, paths: Sequence[Path]) -> tuple[str, ...]:
    if standard is None:
        return ()
    if hashlib.sha256(folders.read_bytes(paths[0])).hexdigest() == standard.sha256:
        return ()
    return (
        f"{paths[0].name} differs from the official {name}: scores on it may not compare with "
        "published ones",
    )
