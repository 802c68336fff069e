"""A denoiser beside a network of what it is given, which learns with it."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from genjax.core.types import Examples, PerExample
from genjax.nn.text import Encoded


class Described(nn.Module):
    """A denoiser, and beside it what reads captions or sequences for it.

    Attributes:
      network: the denoiser; calls go to it.
      tower: of texts, or of sequences.
      shape: of a caption, (tokens,), or of a sequence, (places, numbers).
    """

    network: nn.Module
    tower: nn.Module
    shape: tuple[int, ...]

    def __call__(self, x: Examples, train: bool, noise: Array, *given: Any) -> Examples:
        """What the denoiser makes of its inputs."""
        if self.is_initializing():
            kind = jnp.int32 if len(self.shape) == 1 else jnp.float32
            self.read(jnp.zeros((1, *self.shape), kind), False)
        made: Examples = self.network(x, train, noise, *given)
        return made

    def uncertainty(self, noise: Array) -> PerExample:
        """That of the denoiser, where it has one."""
        found: PerExample = self.network.uncertainty(noise)
        return found

    def read(self, given: Array, train: bool) -> Encoded:
        """What the tower makes of captions, [batch, tokens], or of sequences."""
        read: Encoded = self.tower(given, train)
        return read
