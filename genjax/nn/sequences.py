"""A transformer of sequences of vectors, such as the frames of a spectrogram."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from genjax.config import SequenceTower, SequenceTransformer
from genjax.nn.encoder import STD, Stack
from genjax.nn.layers import Layers
from genjax.nn.text import Encoded

_MLP = 4

Sequences = Float[Array, "batch length numbers"]


def there(sequences: Sequences) -> Bool[Array, "batch"]:
    """Which sequences are there: those that are not 0 everywhere."""
    found: Array = jnp.any(sequences != 0, axis=(1, 2))
    return found


class SequenceEncoder(nn.Module):
    """Norms before each branch, attention to all places, and their mean after a last norm.

    Attributes:
      stack: of its layers.
      width: units of each place.
    """

    stack: Stack
    width: int

    @nn.compact
    def __call__(self, sequences: Sequences, train: bool) -> Encoded:
        length, dtype = sequences.shape[1], self.stack.layers.dtype
        places = self.param("positions", nn.initializers.normal(STD), (length, self.width))
        x = self.stack.rows(
            self.width, sequences.astype(dtype), "in", nn.initializers.lecun_normal()
        )
        x = self.stack.drop(x + places.astype(dtype), train)
        x = self.stack.run(x, None, train)
        known = self.stack.norm("norm")(x).astype(jnp.float32)
        known = jnp.where(there(sequences)[:, None, None], known, 0)
        return Encoded(known, jnp.mean(known, axis=1))


def make_sequence_encoder(
    config: SequenceTower, dtype: Any = jnp.float32, axis_name: str | None = None
) -> SequenceEncoder:
    """Builds a network of sequences; ``apply(variables, sequences, train) -> Encoded``.

    Args:
      config: its size.
      dtype: type of the computation.
      axis_name: mapped axis over the devices, if any.

    Returns:
      A module from float32 [batch, L, numbers], all 0 for none, and bool; both parts of what it
      gives are 0 of a sequence that is not there.
    """
    assert isinstance(config, SequenceTransformer)
    layers = Layers(dtype=dtype, axis_name=axis_name)
    stack = Stack(config.depth, config.heads, _MLP * config.width, layers, config.dropout)
    return SequenceEncoder(stack, config.width)
