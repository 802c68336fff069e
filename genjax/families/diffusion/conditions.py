"""What a denoiser is given beside noisy examples: labels, what is read of captions, and maps."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import Denoising
from genjax.core.captions import CAPTION, drawn
from genjax.core.from_loss import Context
from genjax.core.frozen import NO_NETWORKS, Networks
from genjax.core.magnitude import unit_magnitude
from genjax.core.rng import example_keys, stream
from genjax.core.schema import NO_LABELS, Field, Spec, check_continuous
from genjax.core.types import (
    Batch,
    Condition,
    Examples,
    Images,
    Index,
    Key,
    Labels,
    Variables,
)
from genjax.errors import UserError
from genjax.families.contrastive import TextEncoder, text_encoder
from genjax.nn.denoisers import make_denoiser
from genjax.nn.described import Described
from genjax.nn.descriptions import Description
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
      maps: by field, perhaps with noise, or 0 for none.
      strength: standard deviation of that noise; None for a model that was never shown any.
    """

    labels: Labels | None = None
    captions: Int[Array, "batch tokens"] | None = None
    vectors: Mapping[str, Float[Array, "batch numbers"]] = {}
    maps: Mapping[str, Images] = {}
    strength: Float[Array, "batch"] | None = None


class Told(NamedTuple):
    """What a network is told of each example.

    Attributes:
      labels: as in `Taken`.
      description: what is read of the captions, and vectors; None without.
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


class Conditions(NamedTuple):
    """What a model is given.

    Attributes:
      given: the fields of the data.
      classes: labels that there are; 0 for a model without.
      caption: the field; None for a model without.
      text: the configuration of the tower that learns to read captions.
      encoder: that of another run; None where one is learnt with the network.
      vectors: fields of one axis of real numbers, such as embeddings.
      maps: fields of three axes of real numbers, such as images with fewer pixels.
      shape: of what is generated.
      noise: the greatest standard deviation of noise on maps in training.
    """

    given: tuple[str, ...] = ()
    classes: int = 0
    caption: Field | None = None
    text: Any = None
    encoder: TextEncoder | None = None
    vectors: Mapping[str, Field] = {}
    maps: Mapping[str, Field] = {}
    shape: tuple[int, ...] = ()
    noise: float = 0.0


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
        for name, usual in (("label_dropout", 0.0), (ENCODER, None), ("condition_noise", 0.0)):
            value = getattr(config, name)
            if value != usual:
                raise UserError(
                    f"{name} is {value}, but the model is given no labels, captions or maps; leave "
                    "it out, or set conditional"
                )
        return Conditions()
    caption = spec.fields[CAPTION] if CAPTION in spec.given else None
    vectors: dict[str, Field] = {}
    maps: dict[str, Field] = {}
    for name in spec.given:
        field = spec.fields[name]
        if name in (LABEL, CAPTION):
            continue
        if field.dtype != "float32" or len(field.shape) not in (1, 3):
            raise UserError(
                f"data.given has {name!r}, {field.dtype} of shape {field.shape}, and {what} takes "
                "labels, captions, and vectors and maps of real numbers; leave it out"
            )
        (vectors if len(field.shape) == 1 else maps)[name] = field
    _check_maps(config, spec, what, maps)
    if not spec.given:
        raise UserError(f"a conditional model needs class labels or captions, and {NO_LABELS}")
    if caption is None and config.text_encoder is not None:
        raise UserError(
            f"text_encoder is {config.text_encoder}, but data.given has no caption; leave it out, "
            f"or set data.given to {CAPTION}"
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
        maps,
        spec.shape,
        config.condition_noise,
    )


def _check_maps(config: Denoising, spec: Spec, what: str, maps: Mapping[str, Field]) -> None:
    """Refuses maps beside what is no image, and noise on none."""
    if maps and not spec.is_image:
        kind = "latents of another run" if spec.coded else f"examples of shape {spec.shape}"
        raise UserError(
            f"{what} takes the map {min(maps)!r} beside images, and not beside {kind}; leave it out"
        )
    if config.condition_noise and not maps:
        raise UserError(
            f"condition_noise is {config.condition_noise:g}, but the model is given no map; leave "
            "it out, or set data.derive"
        )


def make_network(
    config: Denoising,
    shape: tuple[int, ...],
    conditions: Conditions,
    axis_name: str | None,
    around: Callable[[Any], Any] | None = None,
) -> Any:
    """Builds the network that is trained, with the text tower that learns beside it, if any.

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
    caption = conditions.caption
    if caption is None or conditions.encoder is not None:
        return network
    length = caption.shape[1]
    tower = make_text_tower(conditions.text, caption.levels, length, dtype, axis_name)
    return Described(network, tower, length)


def taken(
    conditions: Conditions,
    condition: Condition,
    key: Key,
    index: Index,
    strength: float | Float[Array, "batch"] = 0.0,
) -> Taken:
    """What a model takes of a condition; of several captions one is drawn.

    Args:
      conditions: from `conditions_of`.
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
    maps = {name: condition[name] for name in conditions.maps}
    if not conditions.noise:
        return Taken(labels, captions, vectors, maps)
    strengths = jnp.broadcast_to(jnp.float32(strength), index.shape)

    def noisy(name: str, clean: Images) -> Images:
        keys = example_keys(stream(key, f"noise on {name}"), index)
        e = jax.vmap(lambda key: jax.random.normal(key, clean.shape[1:]))(keys)
        return clean + strengths[:, None, None, None] * e

    maps = {name: noisy(name, clean) for name, clean in maps.items()}
    return Taken(labels, captions, vectors, maps, strengths)


def some_taken(conditions: Conditions, batch: Batch, context: Context, rate: float) -> Taken:
    """What a step takes of its examples; from the share `rate` of them all is left out.

    On the maps of each lies noise of a strength of its own, from U(0, the greatest).

    Reference: Ho et al. 2022 (Cascaded Diffusion Models), section 4.2.
    """
    if not conditions.given:
        return Taken()
    keys = example_keys(stream(context.key, "condition noise"), context.place)
    strength = conditions.noise * jax.vmap(jax.random.uniform)(keys)
    whole = taken(conditions, batch, context.key, context.place, strength)
    keys = example_keys(stream(context.key, "label dropout"), context.place)
    dropped = jax.vmap(jax.random.uniform)(keys) < rate
    return jax.tree.map(
        lambda none, some: jnp.where(dropped.reshape(-1, *[1] * (some.ndim - 1)), none, some),
        without(conditions, whole),
        whole,
    )


def without(
    conditions: Conditions, whole: Taken, instead: Int[Array, "tokens"] | None = None
) -> Taken:
    """The like for examples that are made from nothing, or from one caption in place of theirs."""
    labels = None if whole.labels is None else jnp.full_like(whole.labels, conditions.classes)
    captions = None
    if whole.captions is not None:
        captions = jnp.broadcast_to(-1 if instead is None else instead, whole.captions.shape)
    nothing = jax.tree.map(jnp.zeros_like, (whole.vectors, whole.maps, whole.strength))
    return Taken(labels, captions, *nothing)


def told(
    conditions: Conditions,
    network: Any,
    variables: Variables,
    frozen: Mapping[str, Any],
    some: Taken,
    dropout: Key | None = None,
    changes: Array | None = None,
) -> Told:
    """What a network is told, for which captions are read and maps enlarged.

    Maps are brought to the size of what is generated by linear interpolation along both axes, as in
    cascades (Ho et al. 2022): a map is a smooth first guess, where nearest neighbours would have
    edges that are none of the image's.

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
    elif some.captions is not None:
        rngs = None if dropout is None else {"dropout": stream(dropout, "text")}
        trains = rngs is not None
        read = network.apply(variables, some.captions, trains, method="read", rngs=rngs)
    if conditions.noise:
        assert some.strength is not None
        changes = some.strength[:, None] / conditions.noise
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
    """What there is beside labels, without anything where there is no caption."""
    vectors = list(some.vectors.values())
    if read is None:
        return Description(jnp.concatenate(vectors, axis=1)) if vectors else None
    assert some.captions is not None
    present = some.captions >= 0
    there = jnp.any(present, axis=1)[:, None]
    vectors.insert(0, jnp.where(there, unit_magnitude(read.pooled), 0))
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
    captions = read = None
    if conditions.caption is not None:
        length = conditions.caption.shape[1]
        encoder = conditions.encoder
        width, pooled = text_width(conditions.text) if encoder is None else encoder[-2:]
        captions = jnp.full((1, length), -1)
        read = Encoded(jnp.zeros((1, length, width)), jnp.zeros((1, pooled)))
    maps = {name: jnp.zeros((1, *field.shape)) for name, field in conditions.maps.items()}
    some = Taken(labels, captions, vectors, maps)
    changes = 1 if conditions.noise else changes
    told_of = jnp.zeros((1, changes)) if changes else None
    return Told(labels, _describe(read, some), told_of, _enlarged(conditions, some))
