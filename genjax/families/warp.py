"""Resampling images by affine maps without aliasing, as Karras et al. 2020 (appendix B) do it.

An image is reflected at its borders, doubled by the wavelet filter sym6, read bilinearly where the
map says, and halved by the same filter. The border is as wide as reflection allows, a side less
one pixel: the authors' code takes the smallest that the maps of the batch need, up to that.

TPUs, which would go through gathered and scattered pixels one by one, read by products with the
weights of all rows and columns.
"""

import functools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from genjax.core.compiler import target_platform
from genjax.core.types import Examples, Number

Maps = Float[Array, "batch height width channels"]
Places = Float[Array, "batch rows columns"]
Matrix = Float[Array, "rows columns"]

# Daubechies' least asymmetric wavelet with six vanishing moments: its low-pass filter.
_SYM6 = np.array(
    [
        0.015404109327027373,
        0.0034907120842174702,
        -0.11799011114819057,
        -0.048311742585633,
        0.4910559419267466,
        0.787641141030194,
        0.3379294217276218,
        -0.07263752278646252,
        -0.021060292512300564,
        0.04472490177066578,
        0.0017677118642428036,
        -0.007800708325034148,
    ]
)
_FILTER = _SYM6 / _SYM6.sum()
_EXTRA = 6
"""Rows of the doubled result, on each side, that halving reads beside its own."""
_ZEROS = 2
"""Rows of zeros around a doubled image, so that reading beside it needs no case of its own."""


def reflected(index: np.ndarray, side: int) -> np.ndarray:
    """The places in a row of `side` pixels of those beside it, mirrored at the outer pixels."""
    period = max(2 * (side - 1), 1)
    index = index % period
    return np.minimum(index, period - index)


@functools.cache
def _doubling(side: int) -> np.ndarray:
    """The matrix [6 side, side] that reflects, doubles and puts zeros around."""
    margin = side - 1
    rows = np.eye(side)[reflected(np.arange(-margin, side + margin), side)]
    spread = np.zeros((2 * len(rows), side))
    spread[::2] = 2 * rows
    spread = np.pad(spread, ((6, 5), (0, 0)))
    doubled = sum(_FILTER[11 - k] * spread[k : len(spread) - 11 + k] for k in range(12))
    return np.pad(doubled, ((_ZEROS, _ZEROS), (0, 0))).astype(np.float32)


@functools.cache
def _halving(side: int) -> np.ndarray:
    """The matrix [side, 2 side + 12] that filters and takes every other row."""
    rows = np.eye(2 * (side + _EXTRA))[1:-1]
    return sum(_FILTER[k] * rows[k : k + 2 * side : 2] for k in range(12)).astype(np.float32)


def _corners(sides: tuple[int, int], x: Places, y: Places) -> tuple[Array, Array, Array, Array]:
    """Of the four pixels around each place, the first's number, and how far the place is from it.

    Counted in rows of `sides`, which have zeros at their ends.
    """
    left, top = jnp.floor(x), jnp.floor(y)
    # Apart from the middle's number, which would take digits from what is behind the point.
    column, row = (
        jnp.clip(first.astype(jnp.int32) + side // 2 - 1, 0, side - 2)
        for first, side in ((left, sides[1]), (top, sides[0]))
    )
    return row, column, (y - top)[..., None], (x - left)[..., None]


def _hats(side: int, places: Float[Array, "..."]) -> Float[Array, "... side"]:
    """The weight of each row of `side` at places that are counted as in `_corners`."""
    numbers = np.arange(side, dtype=np.float32) - (side // 2 - 1)
    return jnp.maximum(1 - jnp.abs(places[..., None] - numbers), 0)


_einsum = partial(jnp.einsum, precision="highest")


def _read_by_products(sides: tuple[int, int], maps: Maps, x: Places, y: Places) -> Maps:
    """`read` row by row of the places, whose weights would be large all together."""

    def row(places: tuple[Array, Array]) -> Array:
        lines = _einsum("bpw,bhwc->bphc", _hats(sides[1], places[0]), maps)
        return _einsum("bph,bphc->bpc", _hats(sides[0], places[1]), lines)

    return jax.lax.map(row, (x.swapaxes(0, 1), y.swapaxes(0, 1))).swapaxes(0, 1)


def _write_by_products(sides: tuple[int, int], values: Maps, x: Places, y: Places) -> Maps:
    """`write` row by row of the places."""

    def add(maps: Maps, row: tuple[Array, Array, Array]) -> tuple[Maps, None]:
        values, x, y = row
        lines = _hats(sides[0], y)[..., None] * values[:, :, None]
        return maps + _einsum("bphc,bpw->bhwc", lines, _hats(sides[1], x)), None

    maps = jnp.zeros((values.shape[0], *sides, values.shape[-1]), values.dtype)
    rows = (values.swapaxes(0, 1), x.swapaxes(0, 1), y.swapaxes(0, 1))
    return jax.lax.scan(add, maps, rows)[0]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def read(sides: tuple[int, int], maps: Maps, x: Places, y: Places) -> Maps:
    """Reads maps bilinearly at places.

    Args:
      sides: height and width of the maps; their two outer rows and columns are zero.
      maps: [batch, height, width, channels].
      x: [batch, rows, columns], places from the pixel ``(height / 2 - 1, width / 2 - 1)`` on;
        derivatives by it are left out.
      y: likewise, downwards.

    Returns:
      [batch, rows, columns, channels]; 0 beside the maps.
    """
    if target_platform() == "tpu":
        return _read_by_products(sides, maps, x, y)
    row, column, down, right = _corners(sides, x, y)
    flat = maps.reshape(maps.shape[0], -1, maps.shape[-1])
    numbers = row * sides[1] + column

    def pixels(further: int) -> Maps:
        def some(own: Array, number: Array) -> Array:
            return own.at[number + further].get(mode="promise_in_bounds")

        return jax.vmap(some)(flat, numbers)

    upper = (1 - right) * pixels(0) + right * pixels(1)
    lower = (1 - right) * pixels(sides[1]) + right * pixels(sides[1] + 1)
    return (1 - down) * upper + down * lower


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def write(sides: tuple[int, int], values: Maps, x: Places, y: Places) -> Maps:
    """The adjoint of `read`: adds values [batch, rows, columns, channels] to maps of zeros.

    XLA's own gradient of `read` scatters four times, which on CPUs takes twice as long as one
    scatter of windows.
    """
    if target_platform() == "tpu":
        return _write_by_products(sides, values, x, y)
    row, column, down, right = _corners(sides, x, y)
    rows = jnp.stack([(1 - down) * values, down * values], axis=3)
    windows = jnp.stack([(1 - right)[..., None, :] * rows, right[..., None, :] * rows], axis=4)
    # Of pixels, one after the other, windows over both sides and all channels.
    dimensions = jax.lax.ScatterDimensionNumbers((2, 3, 4), (), (0, 1))

    def add(some: Array, places: Array) -> Array:
        return jax.lax.scatter_add(
            jnp.zeros((*sides, values.shape[-1]), values.dtype),
            places,
            some,
            dimensions,
            mode=jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS,
        )

    return jax.vmap(add)(windows, jnp.stack([row, column], axis=-1))


def _forward(
    operation: Any, sides: tuple[int, int], values: Maps, x: Places, y: Places
) -> tuple[Maps, tuple[Places, Places]]:
    return operation(sides, values, x, y), (x, y)


read.defvjp(
    partial(_forward, read), lambda sides, places, d: (write(sides, d, *places), None, None)
)
write.defvjp(
    partial(_forward, write), lambda sides, places, d: (read(sides, d, *places), None, None)
)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _along(matrix: Float[Array, "_ _"], maps: Maps, axis: int) -> Maps:
    """The product of a matrix and maps along one of their axes.

    The matrix comes first, in derivatives as well, since XLA finds no tiles for some products on
    GPUs in which it comes second.
    """
    product = jnp.tensordot(matrix, maps, axes=(1, axis), precision="highest")
    return jnp.moveaxis(product, 0, axis)


_along.defvjp(
    lambda matrix, maps, axis: (_along(matrix, maps, axis), matrix),
    lambda axis, matrix, d: (None, _along(matrix.T, d, axis)),
)


def _both_ways(vertical: np.ndarray, maps: Maps, horizontal: np.ndarray) -> Maps:
    if target_platform() == "gpu":
        return _along(horizontal, _along(vertical, maps, 1), 2)
    return _einsum("ij,bjwc,vw->bivc", vertical, maps, horizontal)


def warp(images: Examples, inverse: Float[Array, "batch 3 3"]) -> Examples:
    """Resamples images by affine maps.

    Args:
      images: float32 [batch, height, width, channels].
      inverse: from places in the result to places in the image, as ``(x, y, 1)`` from the centre
        on, x to the right and y downwards, in pixels; derivatives by it are left out.

    Returns:
      The images, of the same shape. The identity returns them up to rounding.
    """
    _, height, width, _ = images.shape
    sides = (6 * height, 6 * width)
    doubled = _both_ways(_doubling(height), images, _doubling(width))
    down, right = (
        np.arange(2 * (side + _EXTRA), dtype=np.float32) - (side + _EXTRA - 1)
        for side in (height, width)
    )
    x, y = (
        inverse[:, i, 0, None, None] * right
        + inverse[:, i, 1, None, None] * down[:, None]
        + 2 * inverse[:, i, 2, None, None]
        for i in (0, 1)
    )
    return _both_ways(_halving(height), read(sides, doubled, x, y), _halving(width))


# ---- maps ----


def product(*matrices: Any) -> Matrix:
    """Of matrices from left to right: the last is done first."""
    return functools.reduce(partial(jnp.matmul, precision="highest"), matrices)


def scale(x: Number, y: Number) -> Matrix:
    """From places to those so many times as far from the centre, [3, 3]."""
    return jnp.array([[x, 0, 0], [0, y, 0], [0, 0, 1]], jnp.float32)


def rotate(angle: Number) -> Matrix:
    """From places to those turned by an angle in radians, from right to down, [3, 3]."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def shift(x: Number, y: Number) -> Matrix:
    """From places to those so many pixels away, [3, 3]."""
    return jnp.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
