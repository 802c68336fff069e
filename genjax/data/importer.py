"""Turns files at hand into a data set: finds out what they are, and hands them to who knows."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from genjax.data import archives, caption_files, corpora, image_sets, prepared, stored
from genjax.data import raw as image_files
from genjax.data.bundled import SOURCES
from genjax.data.captioned import import_captioned
from genjax.data.imports import Imported, Request
from genjax.data.progress import Progress, no_progress
from genjax.data.recordings import import_recordings
from genjax.data.standard import STANDARD
from genjax.data.texts import import_text
from genjax.errors import UserError

# Splits, classes, files.
_DEPTH = 3
_ACCEPTED = (
    f"{image_files.ACCEPTED}; images with captions.jsonl or a .txt beside each; a .txt or a folder "
    "of .txt; a folder of .wav; or a .tar, .tar.gz or .tar.xz of these"
)


class Format(NamedTuple):
    """A kind of files that can be imported.

    Attributes:
      plural: what they hold, in words.
      names: of the files.
      known: says whether a data set of a name consists of such.
      run: does the import.
      options: fields of the request that count.
    """

    plural: str
    names: re.Pattern[str]
    known: Callable[[str], bool]
    run: Callable[[Request], Imported]
    options: tuple[str, ...]


CAPTIONED = Format(
    "images with captions",
    # No file by itself tells.
    re.compile(r"(?!)"),
    lambda name: False,
    import_captioned,
    ("resolution", "tokenizer", "vocabulary", "vocabulary_file"),
)
"""Found by what lies beside what."""

FORMATS = (
    Format(
        "images",
        re.compile(
            r".*\.(png|jpe?g|npz|mat)|.*idx[13]-ubyte(\.gz)?|cifar-10-.*", re.IGNORECASE | re.DOTALL
        ),
        lambda name: name in STANDARD,
        lambda request: image_sets.import_images(request, STANDARD.get(request.name)),
        ("resolution",),
    ),
    Format(
        "sound",
        re.compile(r".*\.wav", re.IGNORECASE | re.DOTALL),
        lambda name: name in corpora.RECORDINGS,
        import_recordings,
        ("rate",),
    ),
    Format(
        "text",
        re.compile(r".*\.txt", re.IGNORECASE | re.DOTALL),
        lambda name: name in corpora.TEXTS,
        import_text,
        ("tokenizer", "vocabulary"),
    ),
)
"""What can be imported. Text comes last: a README may lie beside anything."""


def import_dataset(
    name: str,
    source: str | Path,
    directory: str | Path | None = None,
    progress: Progress = no_progress,
    resolution: int | None = None,
    tokenizer: str | None = None,
    vocabulary: int | None = None,
    rate: int | None = None,
    vocabulary_file: str | Path | None = None,
) -> Imported:
    """Imports files as a data set.

    Accepted are the forms of images in `genjax.data.readers`, of images with captions in
    `genjax.data.caption_files`, of text in `genjax.data.texts` and of sound in
    `genjax.data.recordings`, and archives of them.

    Args:
      name: what to call it: lower-case letters, digits and underscores. A standard name such as
        ``cifar10`` is kept for data of the standard's size, shape and classes.
      source: a folder, a file or an archive.
      directory: folder of data sets; None means TFDS_DATA_DIR or ~/tensorflow_datasets.
      progress: shows how far the import is.
      resolution: side to resize images to; None keeps their sizes.
      tokenizer: of text, entry of `genjax.domains.tokenizers.TOKENIZERS`; None for ``character``,
        and of captions for ``bpe``.
      vocabulary: number of tokens, for ``bpe``.
      rate: samples a second to resample sound to; None keeps its own.
      vocabulary_file: of captions, a model's ``vocab.txt``, which implies ``wordpiece``.

    Returns:
      A summary.

    Raises:
      UserError: the name is taken or invalid, or the source cannot be used. Nothing is stored then.
    """
    source = Path(source)
    root = prepared.data_directory(directory)
    check_name(name, root)
    words = None if vocabulary_file is None else Path(vocabulary_file)
    request = Request(name, source, root, progress, resolution, tokenizer, vocabulary, rate, words)
    with contextlib.ExitStack() as stack:
        if archives.is_archive(source):
            inside = stack.enter_context(archives.unpacked(source, root))
            request = dataclasses.replace(request, source=inside)
        chosen = _choose(name, request.source)
        for option in ("resolution", "tokenizer", "vocabulary", "rate", "vocabulary_file"):
            value = getattr(request, option)
            if value is not None and option not in chosen.options:
                shown = str(value) if isinstance(value, Path) else value
                raise UserError(
                    f"{option} is {shown!r}, but {source} holds {chosen.plural}; leave it out"
                )
        return chosen.run(request)


def check_name(name: str, root: Path) -> None:
    """Refuses a name that a new data set can't have.

    Args:
      name: of it.
      root: folder of data sets.

    Raises:
      UserError: it is no name, or taken.
    """
    if not stored.NAME.fullmatch(name):
        raise UserError(
            f"data set name {name!r} isn't usable; write it with lower-case letters, digits and "
            "underscores, starting with a letter"
        )
    if name in SOURCES:
        raise UserError(f"{name!r} is embedded in {SOURCES[name].where}; choose another name")
    standard = STANDARD.get(name)
    target = root / name / (standard.version if standard else stored.VERSION)
    present = prepared.find(name, root) or stored.find(name, root)
    if present or target.exists():
        path = present.path if present else target
        raise UserError(f"{name!r} is already in {path}; delete that folder to import it again")


def _choose(name: str, source: Path) -> Format:
    """The format of a standard set, or that of the files."""
    if not source.exists():
        raise UserError(f"{source} doesn't exist; {_ACCEPTED}")
    for known in FORMATS:
        if known.known(name):
            return known
    if caption_files.are_there(source):
        return CAPTIONED
    found = _look(source)
    if not found:
        raise UserError(f"{source} is empty; {_ACCEPTED}")
    given = [known for known in FORMATS if known.plural in found]
    if not given:
        raise UserError(f"{found['']} is nothing that can be imported; {_ACCEPTED}")
    first, *rest = given
    if rest and rest[0].plural != "text":
        both = " and ".join(f"{x.plural} ({found[x.plural]})" for x in (first, rest[0]))
        raise UserError(f"{source} holds {both}; import each kind by itself")
    return first


def _look(source: Path) -> dict[str, Path]:
    """A file of each format, or of none (''), in a folder or a few levels below."""
    found: dict[str, Path] = {}

    def note(file: str, folder: str | Path) -> None:
        kinds = (known.plural for known in FORMATS if known.names.fullmatch(file))
        found.setdefault(next(kinds, ""), Path(folder, file))

    if source.is_file():
        note(source.name, source.parent)
    for path, folders, files in os.walk(source, followlinks=True):
        if len(Path(path).relative_to(source).parts) >= _DEPTH - 1:
            folders.clear()
        for file in files:
            if not file.startswith("."):
                note(file, path)
    return found
