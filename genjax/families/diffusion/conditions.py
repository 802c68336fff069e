"""What a denoiser is given beside noisy examples: labels, and what is read of captions."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import Denoising, SequenceTransformer
from genjax.core.captions import CAPTION, drawn
from genjax.core.from_loss import Context
from genjax.core.frozen import NO_NETWORKS, Networks
from genjax.core.magnitude import unit_magnitude
from genjax.core.rng import example_keys, stream
from genjax.core.schema import NO_LABELS, Field, Spec, check_continuous
from genjax.core.types import Batch, Condition, Index, Key, Labels, Variables
from genjax.errors import UserError
from genjax.families.contrastive import TextEncoder, text_encoder
from genjax.nn.denoisers import make_denoiser
from genjax.nn.described import Described
from genjax.nn.descriptions import Description
from genjax.nn.sequences import Sequences, make_sequence_encoder, there
from genjax.nn.text import Encoded, make_text_tower, text_width

LABEL = "label"
ENCODER = "text_encoder"
"""The field of the model that names the run of a text encoder."""


class Taken(NamedTuple):
    """What each example is made from.

    Attributes:
      labels: of which the number of classes stands for none; None for a model without.
      captions: one an example, -1 where there is no token; None for a model without.
      vectors: by field, of mean square 1, or 0 for none.
      sequences: one an example, 0 everywhere for none; None for a model without.
    """

    labels: Labels | None = None
    captions: Int[Array, "batch tokens"] | None = None
    vectors: Mapping[str, Float[Array, "batch numbers"]] = {}
    sequences: Sequences | None = None


class Told(NamedTuple):
    """What a network is told of each example.

    Attributes:
      labels: as in `Taken`.
      description: what is read of captions or sequences, and vectors; None without.
      changes: what is told of the augmentation, [batch, numbers]; None without.
    """

    labels: Labels | None = None
    description: Description | None = None
    changes: Array | None = None


class Conditions(NamedTuple):
    """What a model is given.

    Attributes:
      given: the fields of the data.
      classes: labels that there are; 0 for a model without.
      caption: the field; None for a model without.
      text: the configuration of the tower that learns to read captions.
      encoder: that of another run; None where one is learnt with the network.
      vectors: fields of one axis of real numbers, such as embeddings.
      sequence: the name of a field of two axes of real numbers, and the field; None without.
      encoded: the configuration of the network that learns to read those.
    """

    given: tuple[str, ...] = ()
    classes: int = 0
    caption: Field | None = None
    text: Any = None
    encoder: TextEncoder | None = None
    vectors: Mapping[str, Field] = {}
    sequence: tuple[str, Field] | None = None
    encoded: SequenceTransformer = SequenceTransformer()


def conditions_of(
    config: Denoising, spec: Spec, what: str, networks: Networks = NO_NETWORKS
) -> Conditions:
    """Finds out what a model is given.

    Args:
      config: of the model.
      spec: of the data.
      what: the model, in words.
      networks: of other runs: ``text_encoder``, where the configuration names one.

    Returns:
      The conditions.

    Raises:
      UserError: the data are tokens, or there is nothing that could be given.
    """
    check_continuous(spec, what)
    if not config.conditional:
        for name, usual in (("label_dropout", 0.0), ("caption_dropout", None), (ENCODER, None)):
            value = getattr(config, name)
            if value != usual:
                raise UserError(
                    f"{name} is {value}, but the model is given no labels or captions; leave it "
                    "out, or set conditional"
                )
        return Conditions()
    caption = spec.fields[CAPTION] if CAPTION in spec.given else None
    vectors, sequences = {}, []
    for name in spec.given:
        field = spec.fields[name]
        if name in (LABEL, CAPTION):
            continue
        if field.levels or len(field.shape) not in (1, 2):
            raise UserError(
                f"data.given has {name!r}, of shape {field.shape}, and {what} takes labels, "
                "captions, vectors and sequences of real numbers; leave it out"
            )
        if len(field.shape) == 1:
            vectors[name] = field
        else:
            sequences.append((name, field))
    read = [*([CAPTION] if caption is not None else []), *(name for name, _ in sequences)]
    if len(read) > 1:
        raise UserError(
            f"data.given has {read[0]!r} and {read[1]!r}, and {what} reads one sequence of an "
            "example; leave one of them out"
        )
    if not spec.given:
        raise UserError(f"a conditional model needs class labels or captions, and {NO_LABELS}")
    if caption is None and config.text_encoder is not None:
        raise UserError(
            f"text_encoder is {config.text_encoder}, but data.given has no caption; leave it out, "
            f"or set data.given to {CAPTION}"
        )
    if caption is None and config.caption_dropout is not None:
        raise UserError(
            f"caption_dropout is {config.caption_dropout:g}, but data.given has no caption; leave "
            f"it out, or set data.given to {CAPTION}"
        )
    encoder = None
    if caption is not None and config.text_encoder is not None:
        encoder = text_encoder(networks[ENCODER], spec, ENCODER)
    return Conditions(
        spec.given,
        spec.classes,
        caption,
        config.text,
        encoder,
        vectors,
        sequences[0] if sequences else None,
        config.sequence,
    )


def make_network(
    config: Denoising,
    shape: tuple[int, ...],
    conditions: Conditions,
    axis_name: str | None,
    around: Callable[[Any], Any] | None = None,
) -> Any:
    """Builds the network that is trained, with what learns beside it to read captions or sequences.

    Args:
      config: of the model.
      shape: of what it generates.
      conditions: from `conditions_of`.
      axis_name: mapped axis over the devices, if any.
      around: puts something around the denoiser.

    Returns:
      A module ``(x, train, noise, labels, changes, description) -> x'``.

    Raises:
      UserError: the network does not fit the shape.
    """
    dtype = jnp.dtype(config.dtype)
    network: Any = make_denoiser(config.network, shape, conditions.classes, dtype, axis_name)
    network = network if around is None else around(network)
    if conditions.sequence is not None:
        tower = make_sequence_encoder(conditions.encoded, dtype, axis_name)
        return Described(network, tower, conditions.sequence[1].shape)
    caption = conditions.caption
    if caption is None or conditions.encoder is not None:
        return network
    length = caption.shape[1]
    tower = make_text_tower(conditions.text, caption.levels, length, dtype, axis_name)
    return Described(network, tower, (length,))


def taken(conditions: Conditions, condition: Condition, key: Key, index: Index) -> Taken:
    """What a model takes of a condition; of several captions one is drawn.

    Args:
      conditions: from `conditions_of`.
      condition: arrays by field.
      key: of the draw.
      index: places of the examples in the whole batch.

    Returns:
      What it takes.
    """
    labels = condition[LABEL] if conditions.classes else None
    captions = None
    if conditions.caption is not None:
        captions = drawn(condition[CAPTION], stream(key, CAPTION), index)
    vectors = {name: unit_magnitude(condition[name]) for name in conditions.vectors}
    sequences = None if conditions.sequence is None else condition[conditions.sequence[0]]
    return Taken(labels, captions, vectors, sequences)


def some_taken(conditions: Conditions, batch: Batch, context: Context, config: Denoising) -> Taken:
    """What a step takes of its examples; from a share of them some or all is left out.

    Args:
      conditions: from `conditions_of`.
      batch: of the step.
      context: of the step.
      config: of the model, which says how many are left without.

    Returns:
      What it takes. A caption is left out with the rest, or by itself where it has a share of its
      own.
    """
    if not conditions.given:
        return Taken()
    whole = taken(conditions, batch, context.key, context.place)
    none = without(conditions, whole)

    def some(name: str, rate: float) -> Taken:
        keys = example_keys(stream(context.key, name), context.place)
        dropped = jax.vmap(jax.random.uniform)(keys) < rate
        found: Taken = jax.tree.map(
            lambda a, b: jnp.where(dropped.reshape(-1, *[1] * (b.ndim - 1)), a, b), none, whole
        )
        return found

    made = some("label dropout", config.label_dropout)
    if config.caption_dropout is None or whole.captions is None:
        return made
    return made._replace(captions=some("caption dropout", config.caption_dropout).captions)


def leaves_all_out(config: Denoising, conditions: Conditions) -> bool:
    """Whether a model learnt from examples of nothing, too, so that it can guide itself."""
    others = bool(conditions.classes or conditions.vectors)
    captions = config.caption_dropout
    if conditions.caption is None or captions is None:
        return config.label_dropout > 0
    return captions > 0 and (config.label_dropout > 0 or not others)


def without(
    conditions: Conditions, whole: Taken, instead: Int[Array, "tokens"] | None = None
) -> Taken:
    """The like for examples that are made from nothing, or from one caption in place of theirs."""
    labels = None if whole.labels is None else jnp.full_like(whole.labels, conditions.classes)
    captions = None
    if whole.captions is not None:
        captions = jnp.broadcast_to(-1 if instead is None else instead, whole.captions.shape)
    vectors, sequences = jax.tree.map(jnp.zeros_like, (whole.vectors, whole.sequences))
    return Taken(labels, captions, vectors, sequences)


def told(
    conditions: Conditions,
    network: Any,
    variables: Variables,
    frozen: Mapping[str, Any],
    some: Taken,
    dropout: Key | None = None,
    changes: Array | None = None,
) -> Told:
    """What a network is told, for which captions or sequences are read.

    Args:
      conditions: from `conditions_of`.
      network: from `make_network`.
      variables: of the network.
      frozen: variables of other runs, by field and player.
      some: from `taken`.
      dropout: key of what a tower drops; None where it does not train.
      changes: what is told of the augmentation, [batch, numbers]; None where there is none.

    Returns:
      What it is told.
    """
    read = None
    if some.captions is not None and conditions.encoder is not None:
        read = conditions.encoder.encode(frozen[ENCODER], some.captions)
    elif some.captions is not None or some.sequences is not None:
        given = some.sequences if some.captions is None else some.captions
        rngs = None if dropout is None else {"dropout": stream(dropout, "text")}
        read = network.apply(variables, given, rngs is not None, method="read", rngs=rngs)
    return Told(some.labels, _describe(read, some), changes)


def _describe(read: Encoded | None, some: Taken) -> Description | None:
    """What there is beside labels, without anything where there is no caption or sequence."""
    vectors = list(some.vectors.values())
    if read is None:
        return Description(jnp.concatenate(vectors, axis=1)) if vectors else None
    if some.sequences is None:
        assert some.captions is not None
        present = some.captions >= 0
    else:
        present = jnp.broadcast_to(there(some.sequences)[:, None], some.sequences.shape[:2])
    known = jnp.any(present, axis=1)[:, None]
    vectors.insert(0, jnp.where(known, unit_magnitude(read.pooled), 0))
    return Description(jnp.concatenate(vectors, axis=1), read.tokens, present)


def blank(conditions: Conditions, changes: int) -> Told:
    """What a network is told of one example of nothing, in its shapes.

    Args:
      conditions: from `conditions_of`.
      changes: numbers that are told of the augmentation.

    Returns:
      Zeros.
    """
    labels = jnp.zeros(1, jnp.int32) if conditions.classes else None
    vectors = {name: jnp.zeros((1, *field.shape)) for name, field in conditions.vectors.items()}
    captions = sequences = read = None
    if conditions.sequence is not None:
        shape, width = conditions.sequence[1].shape, conditions.encoded.width
        sequences = jnp.zeros((1, *shape))
        read = Encoded(jnp.zeros((1, shape[0], width)), jnp.zeros((1, width)))
    if conditions.caption is not None:
        length = conditions.caption.shape[1]
        encoder = conditions.encoder
        width, pooled = text_width(conditions.text) if encoder is None else encoder[-2:]
        captions = jnp.full((1, length), -1)
        read = Encoded(jnp.zeros((1, length, width)), jnp.zeros((1, pooled)))
    description = _describe(read, Taken(labels, captions, vectors, sequences))
    return Told(labels, description, jnp.zeros((1, changes)) if changes else None)
