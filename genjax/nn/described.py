"""A denoiser beside a text tower that learns with it."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Int

from genjax.core.types import Examples, PerExample
from genjax.nn.text import Encoded


class Described(nn.Module):
    """A denoiser, and beside it what reads captions for it.

    Attributes:
      network: the denoiser; calls go to it.
      tower: of texts.
      length: tokens of a caption.
    """

    network: nn.Module
    tower: nn.Module
    length: int

    def __call__(self, x: Examples, train: bool, noise: Array, *given: Any) -> Examples:
        """What the denoiser makes of its inputs."""
        if self.is_initializing():
            self.read(jnp.full((1, self.length), -1), False)
        made: Examples = self.network(x, train, noise, *given)
        return made

    def uncertainty(self, noise: Array) -> PerExample:
        """That of the denoiser, where it has one."""
        found: PerExample = self.network.uncertainty(noise)
        return found

    def read(self, captions: Int[Array, "batch tokens"], train: bool) -> Encoded:
        """What the tower makes of captions."""
        read: Encoded = self.tower(captions, train)
        return read
