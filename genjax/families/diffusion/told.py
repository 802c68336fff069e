"""What denoisers are told of examples: labels, what is read of captions or sequences, and maps."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.core.captions import CAPTION, drawn
from genjax.core.from_loss import Context
from genjax.core.magnitude import unit_magnitude
from genjax.core.rng import example_keys, stream
from genjax.core.schema import LABEL
from genjax.core.types import (
    Batch,
    Condition,
    Examples,
    Images,
    Index,
    Key,
    Labels,
    PerExample,
    Variables,
)
from genjax.families.contrastive.reading import ENCODER
from genjax.families.diffusion.conditions import Conditions
from genjax.nn.descriptions import Description
from genjax.nn.sequences import Sequences, there
from genjax.nn.text import Encoded, text_width


class Taken(NamedTuple):
    """What each example is made from.

    Attributes:
      labels: of which the number of classes stands for none; None for a model without.
      captions: one an example, -1 where there is no token; None for a model without.
      vectors: by field, of mean square 1, or 0 for none.
      sequences: one an example, 0 everywhere for none; None for a model without.
      maps: by field, perhaps with noise, or 0 for none.
      strength: standard deviation of that noise; None for a model that was never shown any.
    """

    labels: Labels | None = None
    captions: Int[Array, "batch tokens"] | None = None
    vectors: Mapping[str, Float[Array, "batch numbers"]] = {}
    sequences: Sequences | None = None
    maps: Mapping[str, Images] = {}
    strength: PerExample | None = None


class Told(NamedTuple):
    """What a network is told of each example.

    Attributes:
      labels: as in `Taken`.
      description: what is read of captions or sequences, and vectors; None without.
      changes: what is told of the augmentation, or of the noise on maps, [batch, numbers]; None
        without.
      maps: all of them, as large as what is generated; None without.
    """

    labels: Labels | None = None
    description: Description | None = None
    changes: Array | None = None
    maps: Images | None = None

    def beside(self, noisy: Examples) -> Examples:
        """What a network is given for noisy examples: with the maps behind their channels."""
        return noisy if self.maps is None else jnp.concatenate([noisy, self.maps], axis=-1)


def taken(
    conditions: Conditions,
    condition: Condition,
    key: Key,
    index: Index,
    strength: float | PerExample = 0.0,
) -> Taken:
    """What a model takes of a condition; of several captions one is drawn.

    Args:
      conditions: from `genjax.families.diffusion.conditions.conditions_of`.
      condition: arrays by field.
      key: of the draws.
      index: places of the examples in the whole batch.
      strength: standard deviation of the noise on maps; only where the model was shown some.

    Returns:
      What it takes.
    """
    labels = condition[LABEL] if conditions.classes else None
    captions = None
    if conditions.caption is not None:
        captions = drawn(condition[CAPTION], stream(key, CAPTION), index)
    vectors = {name: unit_magnitude(condition[name]) for name in conditions.vectors}
    sequences = next((condition[name] for name in conditions.sequences), None)
    maps = {name: condition[name] for name in conditions.maps}
    if not conditions.config.condition_noise:
        return Taken(labels, captions, vectors, sequences, maps)
    strengths = jnp.broadcast_to(jnp.float32(strength), index.shape)

    def noisy(name: str, clean: Images) -> Images:
        keys = example_keys(stream(key, f"noise on {name}"), index)
        e = jax.vmap(lambda key: jax.random.normal(key, clean.shape[1:]))(keys)
        return clean + strengths[:, None, None, None] * e

    maps = {name: noisy(name, clean) for name, clean in maps.items()}
    return Taken(labels, captions, vectors, sequences, maps, strengths)


def some_taken(conditions: Conditions, batch: Batch, context: Context) -> Taken:
    """What a step takes of its examples; from a share of them some or all is left out.

    On the maps of each lies noise of a strength of its own, from U(0, the greatest).

    Args:
      conditions: from `genjax.families.diffusion.conditions.conditions_of`.
      batch: of the step.
      context: of the step.

    Returns:
      What it takes. A caption is left out with the rest, or by itself where it has a share of its
      own.

    Reference: Ho et al. 2022 (Cascaded Diffusion Models), section 4.2 (noise); Ramesh et al. 2022,
    section 2.1 (captions by themselves).
    """
    config = conditions.config
    if not conditions.given:
        return Taken()

    def uniform(name: str) -> PerExample:
        keys = example_keys(stream(context.key, name), context.place)
        return jax.vmap(jax.random.uniform)(keys)

    strength: float | PerExample = 0.0
    if config.condition_noise:
        strength = config.condition_noise * uniform("condition noise")
    whole = taken(conditions, batch, context.key, context.place, strength)
    none = without(conditions, whole)

    def some(name: str, rate: float) -> Taken:
        dropped = uniform(name) < rate
        found: Taken = jax.tree.map(
            lambda a, b: jnp.where(dropped.reshape(-1, *[1] * (b.ndim - 1)), a, b), none, whole
        )
        return found

    made = some("label dropout", config.label_dropout)
    if config.caption_dropout is None or whole.captions is None:
        return made
    return made._replace(captions=some("caption dropout", config.caption_dropout).captions)


def without(
    conditions: Conditions, whole: Taken, instead: Int[Array, "tokens"] | None = None
) -> Taken:
    """The like for examples that are made from nothing, or from one caption in place of theirs.

    Beside that caption stands all else where a model never had captions alone.
    """
    if instead is not None and conditions.config.caption_dropout is None:
        assert whole.captions is not None
        return whole._replace(captions=jnp.broadcast_to(instead, whole.captions.shape))
    nothing: Taken = jax.tree.map(jnp.zeros_like, whole)
    if whole.labels is not None:
        nothing = nothing._replace(labels=jnp.full_like(whole.labels, conditions.classes))
    if whole.captions is not None:
        captions = jnp.broadcast_to(-1 if instead is None else instead, whole.captions.shape)
        nothing = nothing._replace(captions=captions)
    return nothing


def told(
    conditions: Conditions,
    network: Any,
    variables: Variables,
    frozen: Mapping[str, Any],
    some: Taken,
    dropout: Key | None = None,
    changes: Array | None = None,
) -> Told:
    """What a network is told, for which captions or sequences are read and maps enlarged.

    Maps are brought to the size of what is generated by linear interpolation along both axes, as in
    cascades (Ho et al. 2022): a map is a smooth first guess, where nearest neighbours would have
    edges that are none of the image's.

    Args:
      conditions: from `genjax.families.diffusion.conditions.conditions_of`.
      network: from `genjax.families.diffusion.conditions.make_network`.
      variables: of the network.
      frozen: variables of other runs, by field and player.
      some: from `taken`.
      dropout: key of what a tower drops; None where it does not train.
      changes: what is told of the augmentation, [batch, numbers]; None where there is none.

    Returns:
      What it is told.
    """
    read = None
    given = some.sequences if some.captions is None else some.captions
    if some.captions is not None and conditions.encoder is not None:
        read = conditions.encoder.encode(frozen[ENCODER], some.captions)
    elif given is not None:
        rngs = None if dropout is None else {"dropout": stream(dropout, "text")}
        read = network.apply(variables, given, rngs is not None, method="read", rngs=rngs)
    if some.strength is not None:
        changes = some.strength[:, None] / conditions.config.condition_noise
    return Told(some.labels, _describe(read, some), changes, _enlarged(conditions, some))


def _enlarged(conditions: Conditions, some: Taken) -> Images | None:
    """All maps in the size of what is generated, one behind the other."""
    if not conditions.maps:
        return None
    sides = conditions.shape[:2]
    maps = [
        jax.image.resize(x, (x.shape[0], *sides, x.shape[3]), "linear")
        for x in (some.maps[name] for name in conditions.maps)
    ]
    return jnp.concatenate(maps, axis=-1)


def _describe(read: Encoded | None, some: Taken) -> Description | None:
    """What there is beside labels, without anything where there is no caption or sequence."""
    vectors = list(some.vectors.values())
    if read is None:
        return Description(jnp.concatenate(vectors, axis=1)) if vectors else None
    if some.sequences is not None:
        present = jnp.broadcast_to(there(some.sequences)[:, None], some.sequences.shape[:2])
    else:
        assert some.captions is not None
        present = some.captions >= 0
    known = jnp.any(present, axis=1)[:, None]
    vectors.insert(0, jnp.where(known, unit_magnitude(read.pooled), 0))
    return Description(jnp.concatenate(vectors, axis=1), read.tokens, present)


def blank(conditions: Conditions, changes: int) -> Told:
    """What a network is told of one example of nothing, in its shapes.

    Args:
      conditions: from `genjax.families.diffusion.conditions.conditions_of`.
      changes: numbers that are told of the augmentation.

    Returns:
      Zeros.
    """

    def zeros(fields: Mapping[str, Any]) -> dict[str, Array]:
        return {name: jnp.zeros((1, *field.shape)) for name, field in fields.items()}

    config, caption = conditions.config, conditions.caption
    captions = read = None
    sequences = next(iter(zeros(conditions.sequences).values()), None)
    if sequences is not None:
        width = config.sequence.width
        read = Encoded(jnp.zeros((1, sequences.shape[1], width)), jnp.zeros((1, width)))
    if caption is not None:
        length, encoder = caption.shape[1], conditions.encoder
        width, pooled = text_width(config.text) if encoder is None else encoder[-2:]
        captions = jnp.full((1, length), -1)
        read = Encoded(jnp.zeros((1, length, width)), jnp.zeros((1, pooled)))
    labels = jnp.zeros(1, jnp.int32) if conditions.classes else None
    vectors, maps = zeros(conditions.vectors), zeros(conditions.maps)
    some = Taken(labels, captions, vectors, sequences, maps)
    changes = 1 if config.condition_noise else changes
    numbers = jnp.zeros((1, changes)) if changes else None
    return Told(labels, _describe(read, some), numbers, _enlarged(conditions, some))
