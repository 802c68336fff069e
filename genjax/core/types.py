"""The types that every family shares, with the shapes' names."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import flax.struct
import jax
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

AXIS = "data"
"""Name of the axis over the devices."""

Key: TypeAlias = PRNGKeyArray
Params: TypeAlias = Mapping[str, Any]
"""Trainable arrays, float32."""
Variables: TypeAlias = Mapping[str, Any]
"""Flax collections beside the parameters, such as ``{"batch_stats": ...}``."""
Metrics: TypeAlias = Mapping[str, Float[Array, ""]]
"""Scalars of one step, named ``player/quantity``."""

Number: TypeAlias = float | Float[Array, ""]
"""A hyperparameter; traced where runs of one program differ in it."""

Examples: TypeAlias = Float[Array, "batch ..."]
"""Of any domain, as a model sees them; images are one case."""
Images: TypeAlias = Float[Array, "batch height width channels"]
"""In [-1, 1]."""
RawImages: TypeAlias = UInt8[Array, "batch height width channels"]
"""As they are stored, in 0..255."""
Logits: TypeAlias = Float[Array, "batch"]
PerExample: TypeAlias = Float[Array, "batch"]
Index: TypeAlias = Int[Array, "batch"]
"""Global positions of examples, over all devices."""
Labels: TypeAlias = Int[Array, "batch"]
"""Class labels, from 0."""
Embedding: TypeAlias = Float[Array, "batch condition"]
"""A condition as a network is given it beside its input, for example one-hot labels."""

Batch: TypeAlias = Mapping[str, Any]
"""Arrays [batch, ...] by the name of their field."""
Condition: TypeAlias = Mapping[str, Any]
"""The fields that an example is generated from, [batch, ...] each; none for an unconditional
model."""


@flax.struct.dataclass
class NetState:
    """One player: a network, its optimizer and its moving average.

    Attributes:
      params: trainable arrays, float32.
      variables: other collections, for example batch statistics.
      opt: state of the optimizer over `params`.
      ema: moving average of ``{"params": params, **variables}``, or None.
    """

    params: Params
    variables: Variables
    opt: optax.OptState
    ema: Variables | None = None


@flax.struct.dataclass
class Profiled(NetState):
    """A player with further averages, by power functions of time.

    Attributes:
      profiles: of each width, the collections that are averaged.
    """

    profiles: tuple[Variables, ...] = ()


State: TypeAlias = Any
"""A pytree with the fields ``step`` (int32 scalar) and ``key`` (the base key)."""

Device: TypeAlias = jax.Device
