"""Audio as maps, which a network for images can look at."""

import jax.numpy as jnp
from jaxtyping import Array, Float32, Int16

from genjax.core.types import Images

_WINDOW = 256
_HOP = 128
_FLOOR_DB = -80.0


def spectrogram_maps(waves: Int16[Array, "batch samples 1"]) -> Images:
    """How loud each frequency is at each time.

    Magnitudes of Hann windows of 256 samples, 128 apart, in decibels below a sine of full scale;
    pairs of neighbouring frequencies are averaged.

    Args:
      waves: int16 [batch, samples, 1], at least 256 samples.

    Returns:
      float32 [batch, frames, 64, 1], -1 at -80 dB and less, 1 at 0 dB.
    """
    x = waves[..., 0].astype(jnp.float32) / 32_768
    frames = 1 + (x.shape[1] - _WINDOW) // _HOP
    window = 0.5 - 0.5 * jnp.cos(2 * jnp.pi * jnp.arange(_WINDOW) / _WINDOW)
    starts = jnp.arange(frames)[:, None] * _HOP + jnp.arange(_WINDOW)
    magnitudes = jnp.abs(jnp.fft.rfft(x[:, starts] * window)) / (window.sum() / 2)
    decibels = _decibels(magnitudes[..., 1:])
    pairs = decibels.reshape(*decibels.shape[:2], -1, 2).mean(axis=-1)
    return (1 - 2 * pairs / _FLOOR_DB)[..., None]


def _decibels(magnitudes: Float32[Array, "*shape"]) -> Float32[Array, "*shape"]:
    return 20 * jnp.log10(jnp.maximum(magnitudes, 10 ** (_FLOOR_DB / 20)))
