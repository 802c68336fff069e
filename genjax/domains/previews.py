"""Writes what a domain shows of its samples into files: PNG, WAV, text."""

import os
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from genjax.domains.domain import Picture, Preview, Sound, Text


def write_picture(stream: BinaryIO, picture: Picture) -> None:
    """Writes a picture as PNG."""
    pixels = picture.pixels
    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    image.save(stream, format="PNG")


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


_WRITERS: dict[type, tuple[str, Callable[[BinaryIO, Any], None]]] = {
    Picture: (".png", write_picture),
    Sound: (".wav", write_sound),
    Text: (".txt", write_text),
}


def save_previews(path: Path, previews: Sequence[Preview]) -> list[Path]:
    """Writes previews side by side, each under the suffix of its kind.

    Each file appears whole or not at all.

    Args:
      path: of the files. What has a suffix of a preview gets that of its kind instead; any other
        name, which may have points in it, gets one more.
      previews: of types that differ.

    Returns:
      The files.
    """
    known = {suffix for suffix, _ in _WRITERS.values()}
    name = path.stem if path.suffix.lower() in known else path.name
    written = []
    for preview in previews:
        suffix, write = _WRITERS[type(preview)]
        file = path.with_name(f"{name}{suffix}")
        part = file.with_name(file.name + ".part")
        with part.open("wb") as stream:
            write(stream, preview)
        os.replace(part, file)
        written.append(file)
    return written
