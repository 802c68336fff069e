"""Sound of one channel: 16 bits on the disk, [-1, 1) for a model, heard and seen by a person."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int16, Num, UInt8

from genjax.core.schema import Field
from genjax.domains.domain import Domain, Layout, Picture, Preview, Samples, Sound
from genjax.domains.grid import image_grid

_FULL = 32_768
_SILENCE_S = 0.1
_WINDOW = 256
_HOP = 64
_COLUMNS = 4
# In a spectrogram; those of long sounds are further apart.
_MOST_FRAMES = 256
_FLOOR_DB = -80.0
_BANDS = 16
_TIMES = 8
# Sounds, and samples, whose spectra are in memory at once.
_ROWS = 256
_CHUNK = 2**20

Waves = Int16[np.ndarray, "n samples 1"]


def scale_audio(waves: Int16[Array, "batch samples 1"]) -> Float32[Array, "batch samples 1"]:
    """Maps int16 to float32 [-1, 1): ``x / 32768``."""
    return waves.astype(jnp.float32) / _FULL


def quantize_audio(waves: Float[Array, "batch samples 1"]) -> Int16[Array, "batch samples 1"]:
    """Maps floats to the nearest int16, the inverse of `scale_audio`."""
    levels = jnp.round(waves.astype(jnp.float32) * _FULL)
    return jnp.clip(levels, -_FULL, _FULL - 1).astype(jnp.int16)


def spectra(waves: Num[np.ndarray, "n samples"], hop: int) -> Float[np.ndarray, "n frames 129"]:
    """Magnitudes of windowed Fourier transforms.

    Hann windows of 256 samples, the first at the beginning; the last one may reach beyond the end,
    where zeros are. A sine of amplitude 1 has magnitude 1 at its frequency.

    Args:
      waves: int16 [n, samples]; full scale is 32,768.
      hop: samples from one window to the next.

    Returns:
      float64 [n, frames, 129], frequencies from 0 to half the sample rate.
    """
    window = np.hanning(_WINDOW + 1)[:-1]
    frames = 1 + max(0, -(-(waves.shape[1] - _WINDOW) // hop))
    missing = (frames - 1) * hop + _WINDOW - waves.shape[1]
    padded = np.pad(waves / _FULL, [(0, 0), (0, missing)])
    views = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW, axis=1)[:, ::hop]
    return np.abs(np.fft.rfft(views * window)) / (window.sum() / 2)


def log_spectra(waves: Waves) -> Float32[np.ndarray, "n frames 64"]:
    """How loud each frequency is at each time, for a model that is given sounds.

    `spectra` of windows 128 samples apart, in decibels below a sine of full scale, without the
    constant part; pairs of neighbouring frequencies are averaged.

    Args:
      waves: int16 [n, samples, 1], at least 256 samples.

    Returns:
      float32 [n, frames, 64], -1 at -80 dB and less, 1 at 0 dB.
    """
    parts = []
    for some in np.split(waves[..., 0], range(_ROWS, len(waves), _ROWS)):
        magnitudes = spectra(some, _WINDOW // 2)[..., 1:]
        decibels = 20 * np.log10(np.maximum(magnitudes, 10 ** (_FLOOR_DB / 20)))
        pairs = decibels.reshape(*decibels.shape[:2], -1, 2).mean(axis=-1)
        parts.append((1 - 2 * pairs / _FLOOR_DB).astype(np.float32))
    return np.concatenate(parts)


def spectrogram(wave: Int16[np.ndarray, "samples"]) -> UInt8[np.ndarray, "129 frames 1"]:
    """Shows how loud each frequency is at each time.

    -80 dB below a sine of full scale and less are black, 0 dB is white.

    Args:
      wave: int16 [samples].

    Returns:
      uint8 [129, frames, 1], low frequencies at the bottom; at most 256 frames.
    """
    hop = max(_HOP, -(-(len(wave) - _WINDOW) // (_MOST_FRAMES - 1)))
    magnitudes = spectra(wave[None], hop)[0]
    decibels = 20 * np.log10(np.maximum(magnitudes, 10 ** (_FLOOR_DB / 20)))
    levels = np.rint(255 * np.clip(1 - decibels / _FLOOR_DB, 0, 1))
    return levels.astype(np.uint8).T[::-1, :, None]


def band_energies(waves: Waves, rate: int) -> Float[np.ndarray, "n 128"]:
    """The energy in bands of frequency at several times, as logarithms.

    They hear pitch, rhythm and loudness but no detail: distances between them rank the checkpoints
    of one run, and compare with no paper's.

    Args:
      waves: int16 [n, samples, 1].
      rate: samples a second.

    Returns:
      float64 [n, 8 * 16]: of each eighth of the time the natural logarithm of the mean energy in 16
      bands that are equally wide in mel, ``2595 log10(1 + f / 700)``.
    """
    frequencies = np.fft.rfftfreq(_WINDOW, 1 / rate)
    mel = np.log10(1 + frequencies / 700)
    band = np.minimum((mel / mel[-1] * _BANDS).astype(int), _BANDS - 1)
    to_bands = (band[:, None] == np.arange(_BANDS)).astype(np.float64)
    found = []
    size = max(1, _CHUNK // waves.shape[1])
    for start in range(0, len(waves), size):
        energies = spectra(waves[start : start + size, :, 0], _WINDOW // 2) ** 2 @ to_bands
        frames = energies.shape[1]
        edges = np.linspace(0, frames, _TIMES + 1).astype(int)
        parts = [
            energies[:, first : max(last, first + 1)].mean(axis=1)
            for first, last in zip(np.minimum(edges[:-1], frames - 1), edges[1:], strict=True)
        ]
        # Silence is as quiet as the last of 16 bits.
        found.append(np.log(np.stack(parts, axis=1) + _FULL**-2.0))
    return np.concatenate(found).reshape(len(waves), -1)


def render_audio(samples: Samples, facts: Mapping[str, Any], layout: Layout) -> list[Preview]:
    """Plays samples one after the other, and shows their spectrograms.

    Args:
      samples: int16 [n, samples, 1].
      facts: of the data, with the `sample_rate`.
      layout: columns, of which there are at most 4, and what comes before.

    Returns:
      A sound, with 0.1 s of silence between the samples, and a picture.
    """
    rate = int(facts["sample_rate"])
    panels = (*layout.above.values(), samples)
    silence = np.zeros(round(_SILENCE_S * rate), np.int16)
    waves = [part for panel in panels for wave in panel for part in (wave[:, 0], silence)]
    columns = min(layout.columns or _COLUMNS, _COLUMNS)
    tiles = [np.stack([spectrogram(wave[:, 0]) for wave in panel]) for panel in panels]
    grids = [image_grid(panel, columns) for panel in tiles]
    return [Sound(np.concatenate(waves[:-1]), rate), Picture(np.concatenate(grids))]


AUDIO = Domain(
    field="audio",
    plural="audio",
    axes=2,
    to_model=scale_audio,
    to_stored=quantize_audio,
    model_field=lambda field: Field(field.shape, "float32"),
    render=render_audio,
    pictured=16,
    coarse=lambda samples, facts: band_energies(np.asarray(samples), int(facts["sample_rate"])),
    coarse_name="band_frechet",
    values="int16 x as x / 32768",
    shown=(Sound, Picture),
    single=lambda sample, facts: Sound(sample[:, 0], int(facts["sample_rate"])),
)
