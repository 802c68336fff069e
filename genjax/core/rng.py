"""Random numbers that depend on the seed, a name, the step and the example, and on nothing else.

No key is split and carried along: every draw says which stream it belongs to. Draws for an example
use its position in the whole batch, so the number of devices changes nothing.
"""

import zlib
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int
from jaxtyping import Key as Keys

from genjax.core.types import AXIS, Index, Key


def stream(key: Key, name: str, *counters: Int[Array, ""] | int) -> Key:
    """Derives the key of one named draw.

    Args:
      key: the base key of the run, the same at every step.
      name: which draw, for example ``"latent"``.
      counters: folded in one after the other, for example the step.

    Returns:
      A key: the base key with the CRC-32 of the name and the counters folded in.

    Example:
      >>> import jax
      >>> a = stream(jax.random.key(0), "latent", 7)
      >>> bool(a == stream(jax.random.key(0), "latent", 7))
      True
    """
    key = jax.random.fold_in(key, jnp.uint32(zlib.crc32(name.encode())))
    for counter in counters:
        key = jax.random.fold_in(key, counter)
    return key


def example_index(size: int, axis_name: str | None) -> Index:
    """Positions, in the whole batch, of the examples that this device holds.

    Args:
      size: examples on this device.
      axis_name: mapped axis over the devices, or None where the program sees the whole batch.

    Returns:
      int32 [size], ``device * size + [0, ..., size)``. In a program over several devices that the
      compiler splits, it is split over them, and with it whatever is drawn for each example.
    """
    index = jnp.arange(size, dtype=jnp.int32)
    if axis_name is not None:
        return jax.lax.axis_index(axis_name) * size + index
    if AXIS in jax.sharding.get_abstract_mesh().axis_names:
        return jax.lax.with_sharding_constraint(index, PartitionSpec(AXIS))
    return index


def example_keys(key: Key, index: Index) -> Keys[Array, "batch"]:
    """One key an example: `key` with the example's position folded in; [batch]."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(index)


def latents(
    key: Key, index: Index, size: int, bound: float | None = None
) -> Float[Array, "batch latent"]:
    """Draws z ~ N(0, I) for each example.

    Args:
      key: key of the draw.
      index: int32 [batch], positions in the whole batch.
      size: dimensions of z.
      bound: of all numbers, whose distribution is cut there; None for none.

    Returns:
      float32 [batch, size].
    """
    if bound is not None:
        draw = partial(jax.random.truncated_normal, lower=-bound, upper=bound, shape=(size,))
        cut: Array = jax.vmap(draw)(example_keys(key, index))
        return cut
    return jax.vmap(lambda k: jax.random.normal(k, (size,)))(example_keys(key, index))
