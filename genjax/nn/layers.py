"""Layers that Flax lacks or that must not depend on the number of devices."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.rng import example_index, example_keys
from genjax.types import Key


class Dropout(nn.Module):
    """Inverted dropout whose mask is a function of the example's place in the whole batch.

    ``y = x * mask / (1 - rate)``, with ``mask ~ Bernoulli(1 - rate)``.

    Attributes:
      rate: probability that a unit is zeroed, in [0, 1).
      axis_name: mapped axis over the devices, if any.

    Reference: Srivastava et al. 2014, section 4.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "batch *units"], train: bool) -> Float[Array, "..."]:
        if not train or self.rate == 0:
            return x
        keys = example_keys(self.make_rng("dropout"), example_index(x.shape[0], self.axis_name))
        keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - self.rate, x.shape[1:]))(keys)
        return jnp.where(keep, x / (1 - self.rate), 0).astype(x.dtype)


def symmetric_uniform(limit: float) -> Callable[..., Array]:
    """An initialiser that draws from the uniform distribution on [-limit, limit)."""

    def init(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init


class Maxout(nn.Module):
    """A layer of units that each take the largest of several linear pieces.

    ``y_i = max_j (W_ij x + b_ij)``

    Attributes:
      units: outputs.
      pieces: linear pieces a unit.
      dtype: type of the computation.
      kernel_init: initialiser of the weights.

    Reference: Goodfellow et al. 2013, equation 1.
    """

    units: int
    pieces: int
    dtype: Any = jnp.float32
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "batch inputs"]) -> Float[Array, "batch units"]:
        y = nn.Dense(self.units * self.pieces, dtype=self.dtype, kernel_init=self.kernel_init)(x)
        return y.reshape(x.shape[0], self.units, self.pieces).max(axis=-1)
