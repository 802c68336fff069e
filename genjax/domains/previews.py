"""Writes what a domain shows of its samples into files: pictures, sounds and texts."""

import math
import os
import re
import wave
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from genjax.domains.domain import Domain, Picture, Preview, Samples, Sound, Text
from genjax.errors import UserError

# Of JPEG: nothing that is seen is lost, and each pixel keeps its colour.
_JPEG: dict[str, Any] = {"kind": "JPEG", "quality": 95, "subsampling": 0}


def write_picture(
    stream: BinaryIO, picture: Picture, kind: str = "PNG", **options: int | bool
) -> None:
    """Writes a picture.

    Args:
      stream: of the file.
      picture: what to write.
      kind: of the file, by Pillow's name.
      options: of Pillow for that kind.
    """
    pixels = picture.pixels
    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    image.save(stream, format=kind, **options)


def write_sound(stream: BinaryIO, sound: Sound) -> None:
    """Writes a sound as WAV of 16 bits and one channel."""
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(sound.wave.astype("<i2").tobytes())


def write_text(stream: BinaryIO, text: Text) -> None:
    """Writes a text in UTF-8."""
    stream.write(text.text.encode())


_WRITERS: dict[type, dict[str, Callable[[BinaryIO, Any], None]]] = {
    Picture: {
        ".png": write_picture,
        ".jpg": partial(write_picture, **_JPEG),
        ".jpeg": partial(write_picture, **_JPEG),
        ".webp": partial(write_picture, kind="WEBP", lossless=True),
    },
    Sound: {".wav": write_sound},
    Text: {".txt": write_text},
}
"""By kind and ending; the first ending is the usual one."""

_LARGEST = {".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383}
"""Pixels along a side, by ending."""


def check_ending(path: Path, domain: Domain) -> None:
    """Refuses a file whose ending says that it is of another kind than it would be.

    Args:
      path: of the file.
      domain: of the samples that it is to show.

    Raises:
      UserError: it is; the message lists the endings there are.
    """
    endings = [ending for kind in domain.shown for ending in _WRITERS[kind]]
    # What follows a point in a name such as t0.5 is no ending.
    if path.suffix.lower() not in endings and re.fullmatch(r"\.[A-Za-z]\w*", path.suffix):
        raise UserError(
            f"{path} can't be written: {domain.plural} are shown as {' or '.join(endings)}; choose "
            "another ending"
        )


def save_each(
    folder: str | Path,
    samples: Samples,
    domain: Domain,
    facts: Mapping[str, Any],
    classes: Sequence[str] | None,
) -> None:
    """Writes each sample as a file of its own.

    Args:
      folder: where; made where there is none.
      samples: as they are stored, [n, ...].
      domain: of them.
      facts: of the data.
      classes: of each sample the name of its class, which becomes a folder; None for none.

    Raises:
      UserError: samples of this domain are not looked at one by one.
    """
    folder = Path(folder)
    if domain.single is None:
        raise UserError(
            f"{domain.plural} are not looked at one by one, as {folder} would have them; write "
            "all into one file, or --npz"
        )
    digits = len(str(len(samples) - 1))
    plain: dict[str, str] = {}
    for name in dict.fromkeys(classes or ()):
        word = re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "_"
        plain[name] = word if word not in plain.values() else f"{word}-{len(plain)}"
    for number in range(len(samples)):
        own = folder if classes is None else folder / plain[classes[number]]
        own.mkdir(parents=True, exist_ok=True)
        save_previews(own / f"{number:0{digits}}", [domain.single(samples[number], facts)])


def save_previews(path: str | Path, previews: Sequence[Preview]) -> list[Path]:
    """Writes previews side by side, each in a format of its kind.

    Each file appears whole or not at all.

    Args:
      path: of the files. An ending of a kind is kept, and decides the format, for that kind; what
        has the ending of a kind gets the usual one of another instead, and so does a picture that
        is too large for a format; any other name, which may have points in it, gets one more.
      previews: of types that differ.

    Returns:
      The files.
    """
    path = Path(path)
    known = {ending for endings in _WRITERS.values() for ending in endings}
    name = path.stem if path.suffix.lower() in known else path.name
    written = []
    for preview in previews:
        writers = _WRITERS[type(preview)]
        usual = next(iter(writers))
        ending = path.suffix if path.suffix.lower() in writers else usual
        if isinstance(preview, Picture):
            most = _LARGEST.get(ending.lower(), math.inf)
            ending = usual if max(preview.pixels.shape) > most else ending
        file = path.with_name(f"{name}{ending}")
        part = file.with_name(file.name + ".part")
        try:
            with part.open("wb") as stream:
                writers[ending.lower()](stream, preview)
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)
        written.append(file)
    return written
