"""The augmentation of StyleGAN2-ADA (Karras et al. 2020, appendix B), of all that D sees.

Each operation happens to an example with its share of one strength p, and draws its own numbers.
Whatever the order in the configuration, pixels are moved first, then geometry is changed (both by
one resampling), colours (by one matrix), frequencies, and at last the image is corrupted. Gradients
flow through all of it to the images; the draws have none.
"""

import functools
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from genjax.core.rng import example_keys, stream
from genjax.core.types import Examples, Index, Key, Number
from genjax.errors import UserError, suggest
from genjax.families.warp import Matrix, product, reflected, rotate, scale, shift, warp

Image = Float[Array, "height width channels"]
Four = Float[Array, "4"]
Changes = Mapping[str, Array]
"""The numbers of each operation for one example, float32."""


class Operation(NamedTuple):
    """What is drawn for an operation.

    Attributes:
      make: from four numbers of U[0, 1) and four of N(0, 1) to its own, where it happens.
      neutral: the number that changes nothing.
      chance: from the probability that it happens to that of each decision about it.
      apart: whether each of its numbers is decided on for itself.
    """

    make: Callable[[Four, Four], Array]
    neutral: float
    chance: Callable[[Number], Number] = lambda p: p
    apart: bool = False


OPERATIONS: dict[str, Operation] = {
    "xflip": Operation(lambda u, n: jnp.floor(2 * u[0]), 0),
    "rotate90": Operation(lambda u, n: jnp.floor(4 * u[0]), 0),
    "xint": Operation(lambda u, n: (2 * u[:2] - 1) / 8, 0),
    "scale": Operation(lambda u, n: jnp.exp2(0.2 * n[0]), 1),
    # Before and after the next one, so that an image is turned at all with the probability p.
    "rotate": Operation(
        lambda u, n: (2 * u[:2] - 1) * math.pi,
        0,
        lambda p: 1 - jnp.sqrt(jnp.clip(1 - p, 0, 1)),
        apart=True,
    ),
    "aniso": Operation(lambda u, n: jnp.exp2(0.2 * n[0]), 1),
    "xfrac": Operation(lambda u, n: n[:2] / 8, 0),
    "brightness": Operation(lambda u, n: 0.2 * n[0], 0),
    "contrast": Operation(lambda u, n: jnp.exp2(0.5 * n[0]), 1),
    "lumaflip": Operation(lambda u, n: jnp.floor(2 * u[0]), 0),
    "hue": Operation(lambda u, n: (2 * u[0] - 1) * math.pi, 0),
    "saturation": Operation(lambda u, n: jnp.exp2(n[0]), 1),
    "filter": Operation(lambda u, n: jnp.exp2(n), 1, apart=True),
    "noise": Operation(lambda u, n: 0.1 * jnp.abs(n[0]), 0),
    # The centre of what is cut out; neutral is one beside the image.
    "cutout": Operation(lambda u, n: u[:2], -1),
}
"""In the order in which they are made."""

GROUPS: dict[str, tuple[str, ...]] = {
    "blit": ("xflip", "rotate90", "xint"),
    "geom": ("scale", "rotate", "aniso", "xfrac"),
    "color": ("brightness", "contrast", "lumaflip", "hue", "saturation"),
}
"""Names for several operations."""


def shares_of(config: Mapping[str, float]) -> dict[str, float]:
    """The share of p of each operation that a configuration has.

    Args:
      config: shares by operation or group; an operation's own goes before its group's.

    Returns:
      By operation, in the order of `OPERATIONS`, without those of 0.

    Raises:
      UserError: an unknown name.
    """
    found: dict[str, float] = {}
    for name in sorted(config, key=lambda name: name in OPERATIONS):
        if name not in OPERATIONS and name not in GROUPS:
            known = [*OPERATIONS, *GROUPS]
            raise UserError(f"unknown operation of ada {name!r}; {suggest(name, known)}")
        found |= dict.fromkeys(GROUPS.get(name, (name,)), config[name])
    return {name: found[name] for name in OPERATIONS if found.get(name)}


def draw(key: Key, p: Number, shares: Mapping[str, float], shape: tuple[int, ...]) -> Changes:
    """Draws what happens to one example.

    Args:
      key: of its draws.
      p: strength, at least 0; an operation of share s happens with probability min(s p, 1).
      shares: by operation.
      shape: of the image.

    Returns:
      The numbers of those operations; neutral where one does not happen.
    """
    # Of all operations at once, and made once, or XLA would draw again wherever a number is used.
    size = (len(OPERATIONS), 4)
    uniform, normal, whether = jax.lax.optimization_barrier(
        (
            jax.random.uniform(stream(key, "uniform"), size),
            jax.random.normal(stream(key, "normal"), size),
            jax.random.uniform(stream(key, "whether"), size),
        )
    )
    changes = {}
    for place, (name, operation) in enumerate(OPERATIONS.items()):
        if name in shares:
            numbers = operation.make(uniform[place], normal[place])
            decided = whether[place, : len(numbers)] if operation.apart else whether[place, 0]
            happens = decided < operation.chance(shares[name] * p)
            changes[name] = jnp.where(happens, numbers, operation.neutral)
    if "noise" in changes:
        changes["noise"] *= jax.random.normal(stream(key, "noise"), shape)
    return changes


# ---- geometry ----


def inverse_geometry(changes: Changes, height: int, width: int) -> Matrix:
    """From places in the changed image to places in the image, from the centre on, [3, 3]."""
    neutral = {
        name: jnp.full(2 if name in ("xint", "rotate", "xfrac") else (), OPERATIONS[name].neutral)
        for name in (*GROUPS["blit"], *GROUPS["geom"])
    }
    of = {**neutral, **changes}
    sides = jnp.array([width, height])
    return product(
        scale(1 - 2 * of["xflip"], 1),
        rotate(of["rotate90"] * (math.pi / 2)),
        shift(*-jnp.round(of["xint"] * sides)),
        scale(1 / of["scale"], 1 / of["scale"]),
        rotate(of["rotate"][0]),
        scale(1 / of["aniso"], of["aniso"]),
        rotate(of["rotate"][1]),
        shift(*-of["xfrac"] * sides),
    )


# ---- colours ----

_LUMA = np.array([1, 1, 1, 0]) / math.sqrt(3)
_GREY = np.outer(_LUMA, _LUMA)
_TURN = np.array([[0, -1, 1, 0], [1, 0, -1, 0], [-1, 1, 0, 0], [0, 0, 0, 0]]) / math.sqrt(3)


def color_matrix(changes: Changes) -> Matrix:
    """From ``(red, green, blue, 1)`` to those of the changed image, [4, 4]."""
    of = {name: jnp.float32(OPERATIONS[name].neutral) for name in GROUPS["color"]}
    of.update({name: changes[name] for name in of if name in changes})
    unit, zeros = np.eye(4), np.diag([1.0, 1, 1, 0]) - _GREY
    brightness = jnp.eye(4).at[:3, 3].set(of["brightness"])
    contrast = jnp.diag(jnp.stack([*[of["contrast"]] * 3, jnp.ones(())]))
    hue = unit + jnp.sin(of["hue"]) * _TURN + (jnp.cos(of["hue"]) - 1) * zeros
    saturation = unit + (of["saturation"] - 1) * zeros
    lumaflip = unit - 2 * of["lumaflip"] * _GREY
    return product(saturation, hue, lumaflip, contrast, brightness)


def recolor(image: Image, matrix: Matrix) -> Image:
    """Applies a matrix of colours; a grey image keeps the mean of the three channels.

    On it, hue and saturation have no effect, as in the authors' code.
    """
    factors, offsets = matrix[:3, :3], matrix[:3, 3]
    if image.shape[-1] == 1:
        return image * (jnp.sum(factors) / 3) + jnp.mean(offsets)
    channels = [sum(image[..., j] * factors[i, j] for j in range(3)) + offsets[i] for i in range(3)]
    return jnp.stack(channels, axis=-1)


# ---- frequencies ----


@functools.cache
def _filters() -> np.ndarray:
    """The bank of four band-pass filters from octave to octave, [bands, taps], low to high."""
    root = math.sqrt(3)
    low = np.array([1 - root, 3 - root, 3 + root, 1 + root]) / (4 * math.sqrt(2))
    high = low * (-1) ** np.arange(4)
    low, high = (np.convolve(taps, taps[::-1]) / 2 for taps in (low, high))
    bank = np.eye(4, 1)
    for band in range(1, 4):
        spread = np.zeros((4, 2 * bank.shape[1] - 1))
        spread[:, ::2] = bank
        bank = np.stack([np.convolve(taps, low) for taps in spread])
        middle = bank.shape[1] // 2
        bank[band, middle - 3 : middle + 4] += high
    return bank


@functools.cache
def _band_matrices(side: int) -> np.ndarray:
    """Of each filter, on a row that is reflected at its ends; float32 [bands, side, side]."""
    bank = _filters()
    taps = bank.shape[1]
    place = np.arange(side)
    matrices = np.zeros((4, side, side))
    for tap in range(taps):
        read = reflected(place + tap - taps // 2, side)
        matrices[:, place, read] += bank[:, tap, None]
    return matrices.astype(np.float32)


_POWER = np.array([10, 1, 1, 1]) / 13
"""The share of each band in the power of a natural image, whose spectrum falls as 1 / f."""


def gains(factors: Four) -> Four:
    """The gain of each band: the product of four amplifications that each keep the mean power."""
    each = jnp.ones((4, 4)) + jnp.diag(factors - 1)
    return jnp.prod(each / jnp.sqrt(jnp.sum(_POWER * each**2, axis=1, keepdims=True)), axis=0)


def amplify(image: Image, gain: Four) -> Image:
    """Multiplies the four bands of an image, along each axis."""
    vertical, horizontal = (
        jnp.einsum("b,bij->ij", gain, _band_matrices(side), precision="highest")
        for side in image.shape[:2]
    )
    return jnp.einsum("ij,jwc,vw->ivc", vertical, image, horizontal, precision="highest")


# ---- corruptions ----


def cut(image: Image, center: Float[Array, "2"]) -> Image:
    """Zeroes a rectangle of half the width and height around ``(x, y)``, in shares of them."""
    inside_x, inside_y = (
        jnp.abs((jnp.arange(side) + 0.5) / side - place) < 0.25
        for side, place in zip((image.shape[1], image.shape[0]), center, strict=True)
    )
    return jnp.where((inside_y[:, None] & inside_x)[..., None], 0, image)


# ---- all of it ----


def change(images: Examples, changes: Changes) -> Examples:
    """Makes what was drawn.

    Args:
      images: float32 [batch, height, width, channels].
      changes: the numbers of each operation, [batch, ...]; those that are missing are not made.

    Returns:
      The images, of the same shape; values may leave [-1, 1].
    """
    _, height, width, _ = images.shape
    if changes.keys() & {*GROUPS["blit"], *GROUPS["geom"]}:
        images = warp(
            images, jax.vmap(partial(inverse_geometry, height=height, width=width))(changes)
        )
    if changes.keys() & {*GROUPS["color"]}:
        images = jax.vmap(recolor)(images, jax.vmap(color_matrix)(changes))
    if "filter" in changes:
        images = jax.vmap(amplify)(images, jax.vmap(gains)(changes["filter"]))
    if "noise" in changes:
        images = images + changes["noise"]
    if "cutout" in changes:
        images = jax.vmap(cut)(images, changes["cutout"])
    return images


def make_ada(
    config: Mapping[str, float], shape: tuple[int, ...]
) -> Callable[[Key, Index, Number], Callable[[Examples], Examples]]:
    """Composes the augmentation.

    Args:
      config: the share of each operation or group; see `shares_of`.
      shape: of an image.

    Returns:
      A function ``(key, index, p) -> images -> images``, which has drawn what happens to the images
      at the places `index` of the whole batch with strength p; the identity without operations.

    Raises:
      UserError: an unknown name.
    """
    shares = shares_of(config)

    def augment(key: Key, index: Index, p: Number) -> Callable[[Examples], Examples]:
        if not shares:
            return lambda images: images
        keys = example_keys(stream(key, "ada"), index)
        changes = jax.vmap(lambda key: draw(key, p, shares, shape))(keys)
        return lambda images: change(images, changes)

    return augment
