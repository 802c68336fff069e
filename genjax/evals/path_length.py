"""Perceptual path length: how fast images change on the way between two latents."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from genjax.core.compiler import jit
from genjax.core.rng import example_keys, stream
from genjax.core.types import Index, State
from genjax.data.progress import Progress, no_progress
from genjax.evals.features import FeatureNetwork
from genjax.evals.latents import Latents, Space

EPSILON = 1e-4
"""Share of the way between the two images that are compared."""

PERCENTILES = 1, 99
"""Between which distances count."""

Sampling = Literal["full", "end"]
"""Where on the way: anywhere, or where it begins, which is always at a sample."""


def great_circle(
    a: Float[Array, "batch size"],
    b: Float[Array, "batch size"],
    share: float | Float[Array, "batch 1"],
) -> Float[Array, "batch size"]:
    """The great circle from the direction of a to that of b, on the sphere of radius sqrt(size).

    Normal latents lie close to it.

    Args:
      a: where it begins.
      b: where it ends.
      share: of the angle between them, a number or [batch, 1].

    Returns:
      The points.
    """

    def unit(x: Array) -> Array:
        return x / jnp.linalg.norm(x, axis=-1, keepdims=True)

    a, b = unit(a), unit(b)
    cosine = jnp.sum(a * b, axis=-1, keepdims=True)
    angle = share * jnp.arccos(cosine)
    points = unit(jnp.cos(angle) * a + jnp.sin(angle) * unit(b - cosine * a))
    return points * jnp.sqrt(a.shape[-1])


def path_lengths(
    latents: Latents,
    network: FeatureNetwork,
    space: Space,
    sampling: Sampling,
    count: int,
    seed: int,
    chunk: int,
    progress: Progress = no_progress,
) -> Float[np.ndarray, "count"]:
    """``|f(g(t)) - f(g(t + e))|^2 / e^2`` with g the way between two latents and e = 1e-4.

    The way is a `great_circle` in z, or a straight line in w. Whatever is drawn beside the latents,
    such as noise and labels, is the same at both points. Images are not rounded to bytes.

    Args:
      latents: of a run.
      network: f, which JAX can compile and which takes images of any number in [0, 255].
      space: of the way.
      sampling: full, t uniform in [0, 1], or end, t = 0.
      count: how many ways.
      seed: of them.
      chunk: ways at once.
      progress: shows how far the work is.

    Returns:
      Their squared speeds, float32 [count].

    Reference: Karras et al. 2019, section 4.1. The published lengths are of LPIPS by VGG16.
    """
    key, latent = stream(jax.random.key(seed), "path length"), latents.latent

    def lengths(state: State, variables: Any, index: Index, given: Any) -> Array:
        start, end = (latent.draw(stream(key, "end", number), index) for number in range(2))
        if space == "w":
            start, end = (latent.encode(state, z, key, index, given) for z in (start, end))
        keys = example_keys(stream(key, "share"), index)
        first = jax.vmap(jax.random.uniform)(keys) if sampling == "full" else jnp.zeros(len(index))
        first = first.reshape(-1, *[1] * (start.ndim - 1))

        def point(share: Array) -> Array:
            if space == "w":
                return start + share * (end - start)
            return latent.encode(state, great_circle(start, end, share), key, index, given)

        # Both points in one batch take one network instead of two to compile.
        both = jnp.concatenate([point(first), point(first + EPSILON)])
        index, given = jax.tree.map(lambda x: jnp.concatenate([x, x]), (index, given))
        images = latent.decode(state, both, key, index, given)
        seen = jnp.split(network.apply(variables, (images + 1) * 127.5).features, 2)
        return jnp.sum(jnp.square(seen[0] - seen[1]), axis=1) / EPSILON**2

    compiled, parts = jit(lengths), []
    variables = jax.device_put(network.variables)
    starts = range(0, count, chunk)
    # Rounding to fewer digits than float32 has would hide what a ten thousandth of a way changes.
    with jax.default_matmul_precision("highest"):
        for start in progress(starts, f"ways in {space}", len(starts)):
            numbers = np.arange(start, start + chunk)
            index = jnp.asarray(numbers, jnp.int32)
            given = latents.given(numbers)
            parts.append(np.asarray(compiled(latents.state, variables, index, given)))
    return np.concatenate(parts)[:count]


class PathLength(NamedTuple):
    """Mean of path lengths.

    Attributes:
      value: the mean of those between the percentiles.
      standard_error: of it.
    """

    value: float
    standard_error: float


def trimmed_mean(lengths: Float[np.ndarray, "count"]) -> PathLength:
    """Mean of the lengths from the 1st to the 99th percentile, which are lengths themselves.

    Example:
      >>> trimmed_mean(np.arange(101.0)).value
      50.0
    """
    low = np.percentile(lengths, PERCENTILES[0], method="lower")
    high = np.percentile(lengths, PERCENTILES[1], method="higher")
    kept = lengths[(lengths >= low) & (lengths <= high)].astype(np.float64)
    return PathLength(float(kept.mean()), float(kept.std() / np.sqrt(len(kept))))
