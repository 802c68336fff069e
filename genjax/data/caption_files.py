"""Finds images with captions, in the forms that they come in.

- ``captions.jsonl``, a JSON object a line: ``{"file": "a.png", "caption": "..."}``, several as
  ``"captions": [...]``, or ``{"id": ..., "name": ..., "keywords": [...]}`` of all images that are
  called by the id, whatever folder they are in; perhaps with a ``"category"``, its class.
- a ``.txt`` beside each image, called like it, a caption a line.
- an array of images and a list of names, see `genjax.data.tiles`.
"""

import json
import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from genjax.data import folders, images, tiles
from genjax.data.caption_words import from_keywords, from_path
from genjax.data.folders import SPLITS
from genjax.data.image_folders import KIND
from genjax.errors import UserError, reason

TABLE = "captions.jsonl"
"""What a table of captions is called."""
ACCEPTED = (
    'accepted: captions.jsonl with a {"file": ..., "caption": ...} a line, a .txt beside each PNG '
    "or JPEG, or an .npy with names.txt, perhaps in train/, validation/ and test/"
)
"""What an import of images with captions accepts, for errors."""

_SUFFIX = ".txt"
# Splits, styles, classes, parts of a large set.
_DEPTH = 4
_MOST_LINE = 2**16
_MOST_LINES = 2**22
_MOST_CAPTION = 2**12
_CONTROL = ("Cc", "Cs")


class Captioned(NamedTuple):
    """An image with captions.

    Attributes:
      name: of it in its data set.
      base: what it has in common with its variants, all of which are in one split.
      captions: at least one.
      category: its class, or None.
      describe: its height, width and channels.
      read: ``(channels, resolution) -> image``, uint8 [h, w, channels], on white.
    """

    name: str
    base: str
    captions: Sequence[str]
    category: str | None
    describe: Callable[[], tuple[int, int, int]]
    read: Callable[[int, int | None], images.Image]


class Listed(NamedTuple):
    """The images of a data set.

    Attributes:
      splits: the images of each; all are in ``train`` where nothing says what is for testing.
      unused: files that are none of them and say nothing of them, by their paths in the folder.
    """

    splits: Mapping[str, Sequence[Captioned]]
    unused: Sequence[str]


def are_there(folder: Path) -> bool:
    """Whether a folder, or that of a split in it, holds images with captions of any form."""
    if not folder.is_dir():
        return False
    for part in (folder, *(folder / split for split in SPLITS)):
        if (part / TABLE).is_file() or tiles.find_array(part) is not None:
            return True
    files = _files(folder)
    texts = {path.with_suffix("") for path in files if path.suffix.lower() == _SUFFIX}
    pictures = (path for path in files if path.suffix.lower() in KIND.suffixes)
    return bool(texts) and any(path.with_suffix("") in texts for path in pictures)


def list_captioned(source: Path) -> Listed:
    """Lists the images of a folder, and reads their captions.

    Args:
      source: the folder, with what `are_there` asks for.

    Returns:
      The images.

    Raises:
      UserError: an image lacks its caption or a caption its image, or a file can't be used.
    """
    parts = {split: source / split for split in SPLITS if (source / split).is_dir()}
    if parts and not (source / TABLE).is_file():
        found, unused = {}, []
        for path in sorted(source.iterdir()):
            stray = path.is_dir() or path.suffix.lower() in KIND.suffixes
            if stray and path.name not in parts and path.name[0] != ".":
                raise UserError(
                    f"{source} holds {path.name!r} beside {', '.join(parts)}; remove it"
                )
        for split, folder in parts.items():
            found[split], more = _list(folder)
            unused += more
        return _checked(source, found, unused)
    listed, unused = _list(source)
    if not parts:
        return _checked(source, {"train": listed}, unused)
    found = {split: [] for split in parts}
    for image in listed:
        split = image.name.partition("/")[0]
        if split not in found:
            raise UserError(
                f"{source} holds {image.name!r} beside {', '.join(parts)}; move it into one of them"
            )
        found[split].append(image)
    return _checked(source, found, unused)


def _checked(
    source: Path, splits: Mapping[str, Sequence[Captioned]], unused: Sequence[Path]
) -> Listed:
    for split in ("train", *splits):
        if not splits.get(split):
            raise UserError(f"{source} has no image with a caption for {split}; {ACCEPTED}")
    every = [image for listed in splits.values() for image in listed]
    with_class = [image for image in every if image.category is not None]
    if with_class and len(with_class) < len(every):
        without = next(image for image in every if image.category is None)
        raise UserError(
            f"{source}: {with_class[0].name} has a category and {without.name} has none; give one "
            "to all or to none"
        )
    return Listed(splits, [path.relative_to(source).as_posix() for path in unused])


def _list(folder: Path) -> tuple[list[Captioned], list[Path]]:
    """The images of a folder without splits, and the files that are of no use."""
    if (folder / TABLE).is_file():
        return _list_table(folder)
    array = tiles.find_array(folder)
    return _list_pairs(folder) if array is None else _list_array(folder, array)


def _list_pairs(folder: Path) -> tuple[list[Captioned], list[Path]]:
    texts, pictures, unused = {}, [], []
    for path in _files(folder):
        if _is(path, (_SUFFIX,)):
            texts[path.with_suffix("")] = path
        elif _is(path, KIND.suffixes):
            pictures.append(path)
        else:
            unused.append(path)
    found: list[Captioned] = []
    taken: dict[Path, Path] = {}
    for path in pictures:
        key = path.with_suffix("")
        if key in taken:
            raise UserError(
                f"{taken[key]} and {path.name} share one caption; rename one, or remove it"
            )
        taken[key] = path
        text = texts.get(key)
        if text is None:
            raise UserError(f"{path} has no caption: {key.name}{_SUFFIX} isn't beside it; add it")
        captions = [
            _check_caption(line, f"{text}, line {number}")
            for number, line in _lines(text)
            if line.strip()
        ]
        if not captions:
            raise UserError(f"{text} is empty; write a caption into it, or remove its image")
        found.append(_of_file(folder, path, path.stem, captions, None))
    for key, text in texts.items():
        if key not in taken:
            raise UserError(f"{text} has no image beside it; add the image, or remove the text")
    return found, unused


def _list_array(folder: Path, path: Path) -> tuple[list[Captioned], list[Path]]:
    array = tiles.read_array(path)
    names_file = folder / tiles.NAMES
    names = [
        _check_caption(line, f"{names_file}, line {number}") for number, line in _lines(names_file)
    ]
    if len(names) != len(array):
        raise UserError(
            f"{names_file} has {len(names):,} names and {path.name} {len(array):,} images; they "
            "don't belong together"
        )
    chosen = tiles.choose_names(names)
    classes = all("/" in name for name in chosen if name is not None)
    height, width, channels = array.shape[1:]
    shape = (height, width, min(channels, 3))

    def of_row(row: int, name: str) -> Captioned:
        captions = from_path(name)
        if not captions:
            raise UserError(f"{names_file}, line {row + 1}: {name!r} has no word; name the image")

        def read(wanted: int, resolution: int | None) -> images.Image:
            return images.resize(tiles.flatten(array[row], wanted), resolution)

        category = folders.class_name(name.partition("/")[0], names_file) if classes else None
        return Captioned(f"{row}", captions[0], captions, category, lambda: shape, read)

    unused = [other for other in _files(folder) if other not in (path, names_file)]
    return [of_row(row, name) for row, name in enumerate(chosen) if name is not None], unused


def _list_table(folder: Path) -> tuple[list[Captioned], list[Path]]:
    table = folder / TABLE
    by_name: dict[str, Path] = {}
    by_stem: dict[str, list[Path]] = {}
    unused = []
    for path in _files(folder):
        if not _is(path, KIND.suffixes):
            unused += [path] if path != table else []
            continue
        name = _normal(path.relative_to(folder).as_posix())
        if name in by_name:
            raise UserError(
                f"{path} and {by_name[name].name} differ only in how their accents are stored; "
                "remove one"
            )
        by_name[name] = path
        by_stem.setdefault(_normal(path.stem), []).append(path)
    found: list[Captioned] = []
    taken: dict[Path, int] = {}
    for number, line in _lines(table):
        if not line.strip():
            continue
        where = f"{table}, line {number}"
        row = _parse(line, where)
        if "file" in row:
            name = _check_path(row["file"], where)
            paths, base = [by_name[name]] if name in by_name else [], PurePosixPath(name).stem
            captions = row.get("captions", [row["caption"]] if "caption" in row else [])
        else:
            name = _text(row, "id", where)
            # Those of one sign's variants begin alike: 1f469-1f3fd, 1f469-200d-1f680.
            paths, base = by_stem.get(_normal(name), []), name.partition("-")[0]
            keywords = row.get("keywords", [])
            if not isinstance(keywords, list) or not all(isinstance(x, str) for x in keywords):
                raise UserError(f"{where}: its keywords are no list of texts; write them so")
            captions = from_keywords(_check_caption(_text(row, "name", where), where), keywords)
        if not paths:
            raise UserError(
                f"{where} names {name!r}, which is not in {folder}; take it out, or get the image"
            )
        if not isinstance(captions, list) or not captions:
            raise UserError(f"{where}: {name!r} has no caption; write one, or take it out")
        checked = [_check_caption(caption, where) for caption in captions]
        category = None
        if "category" in row:
            category = folders.class_name(_text(row, "category", where), table)
        for path in paths:
            if path in taken:
                raise UserError(
                    f"{where} names {name!r} again, as line {taken[path]} does; write all captions "
                    "of an image into one line"
                )
            taken[path] = number
            found.append(_of_file(folder, path, base, checked, category))
    left = sorted({*by_name.values()} - taken.keys())
    if left:
        more = f" and {len(left) - 1:,} more" if len(left) > 1 else ""
        raise UserError(
            f"{table} has no caption for {left[0].relative_to(folder)}{more}; add it, or remove "
            "the image"
        )
    return found, unused


def _of_file(
    folder: Path, path: Path, base: str, captions: Sequence[str], category: str | None
) -> Captioned:
    def read(channels: int, resolution: int | None) -> images.Image:
        content = folders.read_bytes(path)
        return images.decode(content, channels, str(path), resolution, white=True)

    name = path.relative_to(folder).as_posix()
    distinct = list(dict.fromkeys(captions))
    return Captioned(
        name,
        base,
        distinct,
        category,
        lambda: images.describe(folders.read_bytes(path), str(path)),
        read,
    )


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    # A RecursionError is of JSON that is nested too deeply.
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is no JSON: {reason(error)}; mend it") from error
    if not isinstance(row, dict) or not ("file" in row or "id" in row):
        raise UserError(f'{where} names no image; write {{"file": ..., "caption": ...}}')
    return row


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    if not isinstance(row.get(key), str):
        raise UserError(f"{where}: its {key} is {row.get(key)!r:.50}, no text; write one")
    return str(row[key])


def _check_path(value: Any, where: str) -> str:
    name = _text({"file": value}, "file", where).replace("\\", "/")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not name.isprintable():
        raise UserError(f"{where} names {name!r:.100}, which is no path in the folder; take it out")
    return _normal(path.as_posix())


def _check_caption(value: Any, where: str) -> str:
    """A caption with one space wherever it has room."""
    if not isinstance(value, str):
        raise UserError(f"{where}: the caption {value!r:.50} is no text; write one")
    caption = " ".join(value.split())
    if not caption:
        raise UserError(f"{where}: the caption is empty; write one")
    strange = next((c for c in caption if unicodedata.category(c) in _CONTROL), None)
    if strange is not None:
        raise UserError(f"{where}: the caption has {strange!r}, no character; take it out")
    if len(caption) > _MOST_CAPTION:
        raise UserError(
            f"{where}: the caption has {len(caption):,} characters, more than {_MOST_CAPTION:,}; "
            "shorten it"
        )
    return caption


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text in UTF-8, from 1 on; few and short enough to be what they should."""
    try:
        with path.open("rb") as file:
            for number in range(1, _MOST_LINES + 2):
                line = file.readline(_MOST_LINE + 1)
                if not line:
                    return
                if len(line) > _MOST_LINE or number > _MOST_LINES:
                    what = "lines" if number > _MOST_LINES else f"bytes in line {number:,}"
                    most = _MOST_LINES if number > _MOST_LINES else _MOST_LINE
                    raise UserError(f"{path} has more than {most:,} {what}; shorten it")
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} isn't UTF-8: {error.reason} in line {number:,}; convert it"
        ) from error


def _files(folder: Path) -> list[Path]:
    """All files in a folder and a few levels below, by name; what is hidden is left out."""

    def refuse(error: OSError) -> None:
        raise UserError(f"cannot look into {error.filename}: {error.strerror}") from error

    found = []
    for path, below, files in os.walk(folder, followlinks=True, onerror=refuse):
        deep = len(Path(path).relative_to(folder).parts) >= _DEPTH
        below[:] = [] if deep else sorted(name for name in below if name[0] != ".")
        found += [Path(path, name) for name in sorted(files) if name[0] != "."]
    return found


def _is(path: Path, suffixes: Sequence[str]) -> bool:
    if path.suffix.lower() not in suffixes:
        return False
    if not path.is_file():
        raise UserError(f"{path} is no file; remove it")
    return True


def _normal(name: str) -> str:
    """A name as all systems write it; they differ in how an accent is stored."""
    return unicodedata.normalize("NFC", name)
