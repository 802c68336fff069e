"""Single WAV files: their header, and their samples as 16 bits of one channel at any rate."""

import io
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Float64, Int16

from genjax.distribution import install_extra
from genjax.errors import UserError, reason

MOST_RATE = 1_000_000
"""Samples a second that a file may have."""

_FULL = 32_768
# Of floats: what is a little over the full scale is clipped, what is far over has another scale.
_MOST_PEAK = 2
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_WIDTHS = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}


class Header(NamedTuple):
    """What the header of a file says.

    Attributes:
      rate: samples a second.
      channels: 1 or 2.
      samples: in each channel.
    """

    rate: int
    channels: int
    samples: int


def read_header(path: Path) -> Header:
    """Reads the header of a WAV file.

    Args:
      path: the file.

    Returns:
      What it says.

    Raises:
      UserError: it is no whole WAV file of 8, 16, 24 or 32 bits or of floats, with one or two
        channels, or it has no samples.
    """
    try:
        with path.open("rb") as stream:
            return _header(stream, path.stat().st_size)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, struct.error) as error:
        why = "it is truncated" if isinstance(error, struct.error) else str(error)
        raise UserError(
            f"cannot read the sound {path}: {why}; remove it or get it again"
        ) from error


def read_sound(path: Path, rate: int) -> Int16[np.ndarray, "samples"]:
    """Reads the samples of a WAV file.

    Two channels become their mean. Another rate is resampled by soxr at its high quality. What has
    more than 16 bits is rounded, and what is then beyond them clipped.

    Args:
      path: the file.
      rate: samples a second of the result.

    Returns:
      int16 [samples].

    Raises:
      UserError: as `read_header`; or samples are not finite or far beyond the full scale, or a
        package is missing.
    """
    header = read_header(path)
    library = _import("soundfile")
    try:
        channels, _ = library.read(io.BytesIO(path.read_bytes()), dtype="float64", always_2d=True)
    # libsndfile's errors and those of a file that is too large for memory.
    except Exception as error:
        raise UserError(
            f"cannot read the sound {path}: {reason(error)}; remove it or get it again"
        ) from error
    if channels.shape != (header.samples, header.channels):
        raise UserError(f"cannot read the sound {path}: it is truncated; remove it or get it again")
    wave = channels.mean(axis=1)
    if not np.isfinite(wave).all():
        raise UserError(f"the sound {path} has samples that are not finite; remove it")
    peak = np.abs(channels).max()
    if peak > _MOST_PEAK:
        raise UserError(
            f"the sound {path} has samples up to {peak:,.6g}, but floats are within -1 and 1; "
            "divide them by their full scale"
        )
    if header.rate != rate:
        wave = resample(wave, header.rate, rate)
    return np.clip(np.rint(wave * _FULL), -_FULL, _FULL - 1).astype(np.int16)


def resample(
    wave: Float64[np.ndarray, "samples"], rate: int, to: int
) -> Float64[np.ndarray, "resampled"]:
    """Changes the rate of a wave without changing what is heard below half of either rate.

    Args:
      wave: float64 [samples].
      rate: of it, in samples a second.
      to: the new rate.

    Returns:
      float64 [samples * to / rate], rounded.

    Raises:
      UserError: soxr is missing.
    """
    return np.asarray(_import("soxr").resample(wave, rate, to, quality="HQ"))


def _import(name: str) -> Any:
    """One of the packages of the extra for sound."""
    try:
        return __import__(name)
    # soundfile raises the second where its own library of the system is missing.
    except (ImportError, OSError) as error:
        raise UserError(f"sounds need the package {name}: {install_extra('audio')}") from error


def _header(stream: BinaryIO, size: int) -> Header:
    """Walks the chunks of a RIFF file; libsndfile takes what is left of a truncated one."""
    if not size:
        raise ValueError("it is empty (0 bytes)")
    start = stream.read(12)
    if start[:4] != b"RIFF" or start[8:] != b"WAVE":
        raise ValueError("it is no WAV file")
    form: tuple[int, ...] | None = None
    while True:
        kind, length = struct.unpack("<4sI", stream.read(8))
        begin = stream.tell()
        if begin + length > size:
            raise ValueError(
                f"it is truncated: {size:,} bytes where its header asks for {begin + length:,}"
            )
        if kind == b"fmt ":
            form = struct.unpack("<HHIIHH", stream.read(16))
            if form[0] == _EXTENSIBLE:
                # The format proper begins a name of 16 bytes, 8 bytes further on.
                form = (*struct.unpack("<8xH", stream.read(10)), *form[1:])
        if kind == b"data":
            break
        # Chunks begin at even places.
        stream.seek(begin + length + length % 2)
    if form is None:
        raise ValueError("its samples come before their format")
    tag, channels, rate, _, frame, bits = form
    if bits not in _WIDTHS.get(tag, ()):
        raise ValueError(f"it holds format {tag} of {bits} bits; convert it to PCM of 16 bits")
    if channels not in (1, 2):
        raise ValueError(f"it has {channels} channels; convert it to one or two")
    if frame != channels * bits // 8 or not 1 <= rate <= MOST_RATE:
        raise ValueError(f"its header is damaged: {rate} samples a second of {frame} bytes")
    if length % frame:
        raise ValueError(f"its last sample is cut: {length:,} bytes of samples of {frame}")
    if not length:
        raise ValueError("it has no samples")
    return Header(rate, channels, length // frame)
