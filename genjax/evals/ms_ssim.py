"""Multi-scale structural similarity, and how alike samples are by it."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, Shaped, UInt8

from genjax.errors import UserError
from genjax.evals.precision import float64

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _SIGMA = 11, 1.5
_K1, _K2, _RANGE = 0.01, 0.03, 255
_CHUNK = 32

Pixels: TypeAlias = (
    UInt8[np.ndarray, "n height width channels"] | Float[np.ndarray, "n height width channels"]
)
"""uint8, or float in [0, 255]."""


class MsSsim(NamedTuple):
    """Similarities of pairs.

    Attributes:
      values: float64 [n], in [0, 1]; 1 for equal images.
      scales: resolutions that were compared, 1 to 5; values with different numbers don't compare.
    """

    values: Float64[np.ndarray, "n"]
    scales: int


class Diversity(NamedTuple):
    """How alike random pairs of a set are.

    Attributes:
      value: the mean MS-SSIM; the lower, the more diverse the set.
      standard_error: how far `value` is from the mean over all pairs of this set.
      pairs: pairs that were compared.
      scales: resolutions that were compared.
    """

    value: float
    standard_error: float
    pairs: int
    scales: int


def count_scales(height: int, width: int) -> int:
    """Resolutions that fit: the smallest side, halved again and again, must hold 11 pixels.

    Example:
      >>> [count_scales(side, side) for side in (8, 28, 64, 176)]
      [1, 2, 3, 5]
    """
    scales, side = 1, min(height, width) // 2
    while side >= _WINDOW and scales < len(_WEIGHTS):
        scales, side = scales + 1, side // 2
    return scales


def ms_ssim(a: Pixels, b: Pixels) -> MsSsim:
    """Multi-scale structural similarity of each pair of images.

    ``prod_{s < S} cs_s^w_s * ssim_S^w_S`` with, under a Gaussian window of 11 pixels and standard
    deviation 1.5, and averaged over its places inside the image,

    ``cs = (2 s_ab + C2) / (s_a^2 + s_b^2 + C2)`` and
    ``ssim = cs (2 m_a m_b + C1) / (m_a^2 + m_b^2 + C1)``

    where ``C1 = (0.01 * 255)^2`` and ``C2 = (0.03 * 255)^2``. Each scale averages 2 x 2 pixels of
    the last; an odd side loses its last pixel. The paper's five scales need sides of 176 pixels,
    smaller images have as many as fit, with the first of its weights. Weights are divided by their
    sum, which is 1.0001 for all five, so that this is the usual value to the power of 1 / 1.0001.
    Under 11 pixels the window is the largest odd number that fits. Averages of cs and ssim under 0
    count as 0. Channels are compared one by one and averaged.

    Args:
      a: uint8, or float in [0, 255], [n, height, width, channels].
      b: of the same shape.

    Returns:
      The similarities, and the number of scales.

    Raises:
      UserError: a value is out of range.

    Reference: Wang, Simoncelli & Bovik 2003, equation 7.

    Example:
      >>> black, white = np.zeros((1, 8, 8, 1), np.uint8), np.full((1, 8, 8, 1), 255, np.uint8)
      >>> ms_ssim(black, black)
      MsSsim(values=array([1.]), scales=1)
      >>> ms_ssim(black, white).values.round(4)
      array([0.0001])
    """
    _require_range(a)
    _require_range(b)
    every = np.arange(len(a))
    return MsSsim(_compare_pairs(a, b, every, every, _compare), count_scales(*a.shape[1:3]))


def ssim(a: Pixels, b: Pixels) -> Float64[np.ndarray, "n"]:
    """Structural similarity of each pair of images, at their own resolution.

    The mean of ``ssim``, see `ms_ssim`, over the places of its window inside the image, and over
    channels.

    Args:
      a: uint8, or float in [0, 255], [n, height, width, channels].
      b: of the same shape.

    Returns:
      float64 [n], in [-1, 1]; 1 for equal images.

    Raises:
      UserError: a value is out of range.

    Reference: Wang, Bovik, Sheikh & Simoncelli 2004, equation 13.
    """
    _require_range(a)
    _require_range(b)
    every = np.arange(len(a))
    return _compare_pairs(a, b, every, every, _compare_once)


def ms_ssim_diversity(
    images: Pixels, labels: Int[np.ndarray, "n"] | None, seed: int, pairs: int = 1000
) -> Diversity:
    """Mean MS-SSIM of random pairs of distinct images; generators that collapse have a high one.

    Args:
      images: uint8, or float in [0, 255], [n, height, width, channels].
      labels: int [n]; pairs are then of one class, and spread evenly over the classes with at least
        two images. None draws from the whole set.
      seed: of the pairs, at least 0.
      pairs: how many, at least 2. A pair may be drawn twice.

    Returns:
      The mean and its standard error.

    Raises:
      UserError: no two images of a class, fewer than 2 pairs, or a value out of range.

    Reference: Odena, Olah & Shlens 2017, section 4.2.
    """
    if pairs < 2:
        raise UserError(f"pairs is {pairs}; it must be at least 2")
    _require_range(images)
    first, second = _draw_pairs(
        np.zeros(len(images), int) if labels is None else labels, seed, pairs
    )
    values = _compare_pairs(images, images, first, second, _compare)
    error = float(np.std(values, ddof=1) / np.sqrt(pairs))
    return Diversity(float(np.mean(values)), error, pairs, count_scales(*images.shape[1:3]))


def _require_range(images: Pixels) -> None:
    if not (images.min() >= 0 and images.max() <= _RANGE):
        raise UserError(
            f"images hold values from {images.min():g} to {images.max():g}; scale them to 0..255"
        )


def _draw_pairs(
    labels: Int[np.ndarray, "n"], seed: int, pairs: int
) -> tuple[Int[np.ndarray, "pairs"], Int[np.ndarray, "pairs"]]:
    classes, counts = np.unique(labels, return_counts=True)
    members = [np.flatnonzero(labels == name) for name in classes[counts > 1]]
    if not members:
        raise UserError(f"no two of {len(labels)} images are of one class; give more images")
    generator = np.random.default_rng(seed)
    first, second = np.zeros((2, pairs), int)
    for number, images in enumerate(members):
        places = np.arange(number, pairs, len(members))
        one = generator.integers(len(images), size=len(places))
        other = one + generator.integers(1, len(images), size=len(places))
        first[places], second[places] = images[one], images[other % len(images)]
    return first, second


def _compare_pairs(
    a: Pixels,
    b: Pixels,
    first: Int[np.ndarray, "pairs"],
    second: Int[np.ndarray, "pairs"],
    compare: Callable[[Any, Any], Array],
) -> Float64[np.ndarray, "pairs"]:
    count = len(first)
    size = min(count, _CHUNK)
    # The last chunk is filled with its last pair, so that all have one shape.
    first, second = (np.pad(index, (0, -count % size), mode="edge") for index in (first, second))
    parts = []
    with float64():
        for start in range(0, count, size):
            chunk = slice(start, start + size)
            parts.append(np.asarray(compare(a[first[chunk]], b[second[chunk]])))
    return np.concatenate(parts)[:count]


@jax.jit
def _compare(
    a: Shaped[Array, "n height width channels"], b: Shaped[Array, "n height width channels"]
) -> Float[Array, "n"]:
    scales = count_scales(*a.shape[1:3])
    weights = np.asarray(_WEIGHTS[:scales]) / sum(_WEIGHTS[:scales])
    a, b = _channels_first(a), _channels_first(b)
    result = jnp.ones(a.shape[:2])
    for scale, weight in enumerate(weights):
        contrast, similarity = _ssim(a, b)
        last = scale == scales - 1
        result *= jnp.maximum(similarity if last else contrast, 0) ** weight
        a, b = _halve(a), _halve(b)
    return jnp.mean(result, axis=1)


@jax.jit
def _compare_once(
    a: Shaped[Array, "n height width channels"], b: Shaped[Array, "n height width channels"]
) -> Float[Array, "n"]:
    return jnp.mean(_ssim(_channels_first(a), _channels_first(b))[1], axis=1)


def _channels_first(
    images: Shaped[Array, "n height width channels"],
) -> Float[Array, "n channels height width"]:
    return jnp.moveaxis(images.astype(jnp.float64), -1, 1)


def _halve(images: Float[Array, "n channels height width"]) -> Float[Array, "n channels h w"]:
    n, channels, height, width = images.shape
    even = images[:, :, : height // 2 * 2, : width // 2 * 2]
    return jnp.mean(even.reshape(n, channels, height // 2, 2, width // 2, 2), axis=(3, 5))


def _ssim(
    a: Float[Array, "n channels height width"], b: Float[Array, "n channels height width"]
) -> tuple[Float[Array, "n channels"], Float[Array, "n channels"]]:
    """Contrast and structure, and that with luminance; each averaged over the image."""
    height, width = a.shape[2:]
    side = min(_WINDOW, height, width)
    window = side - (side + 1) % 2
    down, right = _blur_matrix(height, window), _blur_matrix(width, window)

    def blur(x: Float[Array, "n channels height width"]) -> Float[Array, "n channels h w"]:
        return down @ x @ right.T

    c1, c2 = (_K1 * _RANGE) ** 2, (_K2 * _RANGE) ** 2
    mean_a, mean_b = blur(a), blur(b)
    variances = blur(a * a) + blur(b * b) - mean_a**2 - mean_b**2
    contrast = (2 * (blur(a * b) - mean_a * mean_b) + c2) / (variances + c2)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return jnp.mean(contrast, axis=(2, 3)), jnp.mean(contrast * luminance, axis=(2, 3))


def _blur_matrix(size: int, window: int) -> Float64[np.ndarray, "places size"]:
    """Row i holds the window at place i; a product is several times faster than a convolution."""
    offsets = np.arange(window) - window // 2
    taps = np.exp(-np.square(offsets) / (2 * _SIGMA**2))
    matrix = np.zeros((size - window + 1, size))
    for place, row in enumerate(matrix):
        row[place : place + window] = taps / taps.sum()
    return matrix
