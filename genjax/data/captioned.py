"""Turns images with captions into a stored set."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genjax.core.schema import Schema
from genjax.data import caption_files, folders, stored
from genjax.data.caption_files import Captioned
from genjax.data.digest import content_digest
from genjax.data.imports import Imported, Request, in_words
from genjax.data.memory import in_memory
from genjax.data.schema import captioned_schema, image_schema
from genjax.data.vocabulary_files import read_vocabulary
from genjax.errors import UserError

MOST_TOKENS = 32
"""Tokens of a caption; a longer one is cut."""
MOST_CANDIDATES = 8
"""Captions of an image."""

_PROMPTS = 64
_NAMED = 5
_HELD_OUT = b"genjax/held out"
_ORDER = b"genjax/order"


def import_captioned(request: Request) -> Imported:
    """Imports images with captions, in the forms of `genjax.data.caption_files`.

    They become 8-bit grey, if all of them are, or RGB, on white. Where no folders say what is for
    testing, a tenth is, see `held_out`.

    Args:
      request: what is asked for.

    Returns:
      A summary.

    Raises:
      UserError: an image lacks its caption or a caption its image, or a file can't be used. Nothing
        is stored then.
    """
    resolution = request.checked_resolution
    listed = caption_files.list_captioned(request.source)
    splits = _in_order(_with_test(listed.splits))
    images = _image_schema(request, splits, resolution)
    warnings = [_more_than(splits), _unused(listed.unused)]
    facts = _fit(request, splits)
    tokens, length, cut = _encode(facts, splits)
    candidates = max(len(rows) for split in splits.values() for rows in map(_chosen, split))
    schema = _described(images, facts, splits, candidates, length)
    if cut:
        warnings.append(f"captions that are cut, to {length} tokens: {cut:,}")
    order = {name: label for label, name in enumerate(schema.facts.get("class_names", ()))}
    stored_splits = {}
    with stored.storing(request.name, request.directory) as folder:
        for split, examples in splits.items():
            (folder / split).mkdir()
            _write_images(request, folder / split, examples, schema.fields["image"].shape)
            rows = _rows(tokens, examples, candidates, length)
            small = schema.fields["caption"].levels <= 2**15
            np.save(folder / split / "caption.npy", rows.astype(np.int16) if small else rows)
            arrays = {
                "image": np.load(folder / split / "image.npy", mmap_mode="r"),
                "caption": rows,
            }
            if order:
                label = np.array([order[str(example.category)] for example in examples], np.int32)
                np.save(folder / split / "label.npy", label)
                arrays["label"] = label
            digest = content_digest(in_memory(request.name, split, schema, arrays))
            stored_splits[split] = stored.Split(len(examples), digest)
        stored.describe(folder, schema, stored_splits)
    shape, classes = schema.fields["image"].shape, schema.classes
    return Imported(
        request.name,
        request.directory / request.name / stored.VERSION,
        {split: len(examples) for split, examples in splits.items()},
        f"{in_words(shape, classes)}, each with up to {candidates} captions of up to {length} "
        f"tokens of a vocabulary of {schema.fields['caption'].levels:,} ({facts['tokenizer']})",
        shape,
        classes,
        tuple(order),
        tuple(filter(None, warnings)),
    )


def held_out(bases: Sequence[str]) -> set[str]:
    """Chooses what is for testing: a tenth, rounded down, of the names, and at least one of two.

    They are those with the smallest keyed hashes, BLAKE2b of 16 bytes, the same on every machine.

    Args:
      bases: what examples and their variants have in common.

    Returns:
      Some of the names.
    """
    ordered = sorted(set(bases), key=lambda base: (_hash(base, _HELD_OUT), base))
    count = max(len(ordered) // 10, 1) if len(ordered) > 1 else 0
    return set(ordered[:count])


def _with_test(splits: Mapping[str, Sequence[Captioned]]) -> dict[str, Sequence[Captioned]]:
    if splits.keys() != {"train"}:
        return dict(splits)
    chosen = held_out([example.base for example in splits["train"]])
    parts = {
        "train": [example for example in splits["train"] if example.base not in chosen],
        "test": [example for example in splits["train"] if example.base in chosen],
    }
    return {split: examples for split, examples in parts.items() if examples}


def _in_order(splits: Mapping[str, Sequence[Captioned]]) -> dict[str, list[Captioned]]:
    """Mixes the examples: a list may go from one class to the next, and its beginning is shown."""
    return {
        split: sorted(examples, key=lambda example: (_hash(example.name, _ORDER), example.name))
        for split, examples in splits.items()
    }


def _hash(name: str, key: bytes) -> bytes:
    return hashlib.blake2b(os.fsencode(name), digest_size=16, key=key).digest()


def _image_schema(
    request: Request, splits: Mapping[str, Sequence[Captioned]], resolution: int | None
) -> Schema:
    every = [example for examples in splits.values() for example in examples]
    steps = request.progress(every, "looking at images", len(every))
    shapes = {example.describe(): example for example in steps}
    sizes = {shape[:2]: example for shape, example in shapes.items()}
    if resolution is None and len(sizes) > 1:
        (size, one), (other, another) = list(sizes.items())[:2]
        raise UserError(
            f"{request.source} has images of several sizes, such as {one.name} of {size} and "
            f"{another.name} of {other}; choose one with --resolution"
        )
    height, width = next(iter(sizes)) if resolution is None else (resolution, resolution)
    channels = max(shape[2] for shape in shapes)
    named = {example.category for example in every if example.category is not None}
    order = folders.label_order(request.source, sorted(named), None)
    names = sorted(order, key=order.__getitem__)
    return image_schema((height, width, channels), len(names), names)


def _fit(request: Request, splits: Mapping[str, Sequence[Captioned]]) -> dict[str, Any]:
    """The facts of the tokenizer."""
    from genjax.domains import tokenizers  # Brings JAX, which a look at the disk does without.

    file = request.vocabulary_file
    if file is not None:
        for option, value in (("tokenizer", request.tokenizer), ("vocabulary", request.vocabulary)):
            if value not in (None, "wordpiece"):
                raise UserError(
                    f"{option} is {value!r}, but a vocabulary_file is WordPiece's; leave one out"
                )
        return read_vocabulary(file)
    name = request.tokenizer or "bpe"
    # Characters must be known wherever they occur; pairs are counted in what is learnt from.
    seen = [splits["train"]] if name == "bpe" else splits.values()
    texts = (text for examples in seen for example in examples for text in _chosen(example))
    return tokenizers.fit(name, "\n".join(dict.fromkeys(texts)), request.vocabulary)


def _chosen(example: Captioned) -> Sequence[str]:
    return example.captions[:MOST_CANDIDATES]


def _encode(
    facts: Mapping[str, Any], splits: Mapping[str, Sequence[Captioned]]
) -> tuple[dict[str, np.ndarray], int, int]:
    """The tokens of each caption that there is, how many of them are kept, and how many are cut."""
    from genjax.domains.captions import make_caption_encoder, pad_caption

    encode = make_caption_encoder(facts)
    every = (example for examples in splits.values() for example in examples)
    texts = dict.fromkeys(text for example in every for text in _chosen(example))
    tokens = {text: encode(text) for text in texts}
    longest = max(map(len, tokens.values()))
    length = min(max(longest, 1), MOST_TOKENS)
    cut = sum(len(found) > length for found in tokens.values())
    return {text: pad_caption(facts, found, length) for text, found in tokens.items()}, length, cut


def _rows(
    tokens: Mapping[str, np.ndarray], examples: Sequence[Captioned], candidates: int, length: int
) -> np.ndarray:
    rows = np.full((len(examples), candidates, length), -1, np.int32)
    for row, example in zip(rows, examples, strict=True):
        found = [tokens[text] for text in _chosen(example)]
        # Those in which the tokenizer finds nothing are none, and stand last.
        for place, caption in enumerate(caption for caption in found if caption[0] >= 0):
            row[place] = caption
    return rows


def _described(
    images: Schema,
    facts: Mapping[str, Any],
    splits: Mapping[str, Sequence[Captioned]],
    candidates: int,
    length: int,
) -> Schema:
    """The schema, with captions of examples that are not learnt from as prompts."""
    from genjax.domains import tokenizers

    apart = next(splits[split] for split in ("test", "validation", "train") if split in splits)
    prompts = {example.captions[0]: example.category for example in reversed(apart)}
    shown = list(reversed(prompts))[:_PROMPTS]
    facts = {**facts, "prompts": shown}
    names = images.facts.get("class_names", ())
    if names:
        facts["prompt_labels"] = [names.index(prompts[text]) for text in shown]
    vocabulary = tokenizers.vocabulary_size(facts)
    return captioned_schema(images, candidates, length, vocabulary, facts)


def _write_images(
    request: Request, folder: Path, examples: Sequence[Captioned], shape: tuple[int, ...]
) -> None:
    """Writes an array an image at a time: of one that is mapped a full disk ends the program."""
    words = f"storing {request.name} {folder.name}"
    steps = request.progress(examples, words, len(examples))
    with (folder / "image.npy").open("wb") as file:
        described = {"descr": "|u1", "fortran_order": False, "shape": (len(examples), *shape)}
        np.lib.format.write_array_header_1_0(file, described)
        for example in steps:
            file.write(np.ascontiguousarray(example.read(shape[2], request.resolution)).data)


def _more_than(splits: Mapping[str, Sequence[Captioned]]) -> str:
    every = (example for examples in splits.values() for example in examples)
    count = sum(len(example.captions) > MOST_CANDIDATES for example in every)
    if not count:
        return ""
    return f"images of whose captions the first {MOST_CANDIDATES} are kept: {count:,}"


def _unused(paths: Sequence[str]) -> str:
    more = len(paths) - _NAMED
    rest = f" and {more:,} more" if more > 0 else ""
    return f"not used: {', '.join(paths[:_NAMED])}{rest}" if paths else ""
