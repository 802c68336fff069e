"""What both updates of a GAN share: its parts, its state, and what its networks say."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Shaped

from genjax.config import GANConfig, Optimizer, norm_of
from genjax.core.frozen import NO_NETWORKS, Networks
from genjax.core.optimizers import make_optimizer
from genjax.core.players import apply_training, make_player
from genjax.core.rng import example_index, latents, stream
from genjax.core.schema import Spec, check_continuous
from genjax.core.types import (
    Batch,
    Embedding,
    Examples,
    Index,
    Key,
    NetState,
    Number,
    Params,
    Variables,
)
from genjax.errors import UserError, lookup
from genjax.families.gan.ada import make_ada
from genjax.families.gan.augment import make_augmentation
from genjax.families.gan.composition import check_axes, make_networks
from genjax.families.gan.conditioning import (
    Conditioning,
    Known,
    make_conditioning,
    reader_of,
)
from genjax.families.gan.losses import LOSSES, AdversarialLoss
from genjax.families.gan.networks import Judgement
from genjax.families.gan.styles import Styles, draw_styles, has_styles, noise_keys
from genjax.nn.layers import gather_batch


@flax.struct.dataclass
class GANState:
    """Everything that adversarial training changes.

    Attributes:
      step: int32 scalar, generator updates made.
      key: the base key of the run; it never changes.
      generator: G's parameters, statistics, optimizer and moving average.
      discriminator: D's.
      aux: running values that some techniques need: ``average_real`` and ``average_fake``, averages
        of D's logits (lecam); ``penalty``, the latest value of each lazy penalty by name;
        ``generator_penalty``, that of each of G's terms and the mean that it keeps;
        ``history``, the mean over time of each player's parameters (historical averaging);
        ``augment_p`` and ``augment_sign``, the strength of an augmentation that adapts and the sum,
        over D's updates since it last changed, of the mean sign of its logits of real images.
    """

    step: Int[Array, ""]
    key: Key
    generator: NetState
    discriminator: NetState
    aux: Mapping[str, Any]


class Game(NamedTuple):
    """A GAN, composed.

    Attributes:
      config: the axes.
      spec: of the data.
      loss: the two sides of the adversarial game.
      conditioning: what the networks are given beside their inputs.
      augment: ``(key, place, p) -> examples -> examples``, of all that D sees, with a strength p.
      g_network: G without parameters.
      d_network: D without parameters.
      g_optimizer: of G.
      d_optimizer: of D.
      axis_name: mapped axis over the devices, if any.
      accumulate: parts of D's batches whose gradients are averaged.
      generator_parts: likewise of G's.
    """

    config: GANConfig
    spec: Spec
    loss: AdversarialLoss
    conditioning: Conditioning
    augment: Callable[[Key, Index, Number], Callable[[Examples], Examples]]
    g_network: Any
    d_network: Any
    g_optimizer: optax.GradientTransformation
    d_optimizer: optax.GradientTransformation
    axis_name: str | None
    accumulate: int
    generator_parts: int


class Drawn(NamedTuple):
    """Generated examples, from which a gradient can be pulled back.

    Attributes:
      images: in [-1, 1].
      pull: from the gradient by the images to that by G's parameters, in a tuple.
      condition: of the images.
      variables: G's other collections afterwards.
    """

    images: Examples
    pull: Callable[[Examples], tuple[Params]]
    condition: Embedding | None
    variables: Variables


def compose(
    config: GANConfig,
    spec: Spec,
    axis_name: str | None,
    accumulate: int,
    networks: Networks = NO_NETWORKS,
) -> Game:
    """Composes a GAN from its axes.

    Args:
      config: the axes.
      spec: of the data.
      axis_name: mapped axis over the devices, if any.
      accumulate: parts of the batch whose gradients are averaged.
      networks: of other runs: ``text_encoder``, where the configuration names one.

    Returns:
      The game.

    Raises:
      UserError: an unknown name, axes that do not fit each other, or data that a network can't
        make.
    """
    loss = lookup(LOSSES, config.loss, "adversarial loss")
    check_continuous(spec, "a GAN")
    check_axes(config, spec)
    size = config.generator_batch or spec.size
    parts = config.generator_accumulate or accumulate
    _check_batches(config, spec, loss, accumulate, size, parts)
    return Game(
        config,
        spec,
        loss,
        make_conditioning(config, spec.classes, reader_of(config, spec, networks)),
        _make_augment(config, spec),
        *make_networks(config, spec, axis_name),
        _optimizer(config, config.generator_optimizer, config.generator_penalties, size),
        _optimizer(config, config.discriminator_optimizer, config.penalties, spec.size),
        axis_name,
        accumulate,
        parts,
    )


def _check_batches(
    config: GANConfig, spec: Spec, loss: AdversarialLoss, accumulate: int, size: int, parts: int
) -> None:
    """Refuses a batch of G, of a size and in parts, that a step does not have."""
    if config.share_generated and max(accumulate, parts) > 1:
        raise UserError(
            f"accumulate is {max(accumulate, parts)}, but share_generated keeps a whole batch of "
            "images; turn one of them off"
        )
    if config.share_generated and size != spec.size:
        raise UserError(
            f"generator_batch is {size}, but share_generated lets G learn from D's images; turn "
            "one of them off"
        )
    if size % spec.size and spec.size % size:
        raise UserError(
            f"generator_batch is {size}; it must be a multiple or a divisor of batch_size, "
            f"{spec.size}"
        )
    if size % parts:
        raise UserError(
            f"generator_accumulate is {parts}; it must be a divisor of G's batch, {size}"
        )
    real = spec.size * config.discriminator_updates
    looks = loss.paired or config.feature_matching or config.generator_conditioning != "none"
    if looks and size > real:
        raise UserError(
            f"generator_batch is {size}, but G needs as many real examples or labels, and a step "
            f"has {real}"
        )


Terms = Mapping[str, tuple[float, int]]
"""Weight and interval of the terms of a player's loss, by name."""


def lazy_terms(config: GANConfig, terms: Terms) -> list[str]:
    """Those terms that have updates of their own."""
    return [name for name, (_, every) in terms.items() if config.lazy_updates and every > 1]


def _optimizer(
    config: GANConfig, rule: Optimizer, terms: Terms, batch_size: int
) -> optax.GradientTransformation:
    """Of a player, of whose updates a share are those of lazy terms."""
    updates = 1 + sum(1 / terms[name][1] for name in lazy_terms(config, terms))
    return make_optimizer(rule, batch_size, 1 / updates)


def _make_augment(
    config: GANConfig, spec: Spec
) -> Callable[[Key, Index, Number], Callable[[Examples], Examples]]:
    first = make_augmentation(config.augmentations)
    then = make_ada(config.ada, spec.shape)

    def augment(key: Key, index: Index, p: Number) -> Callable[[Examples], Examples]:
        second = then(key, index, p)
        return lambda images: second(first(images, key, index))

    return augment


def first_state(game: Game, key: Key) -> GANState:
    """The state before the first step."""
    config, conditioning = game.config, game.conditioning
    # More than one example only for virtual batch norm, whose reference batch this is.
    size = game.spec.size if norm_of(config.generator) == "virtual" else 1
    index = jnp.arange(size)
    reference = stream(key, "reference")
    condition = conditioning.draw(reference, index, conditioning.first(game.spec, index))
    z = latents(reference, index, config.latent)
    g = game.g_network.init(stream(key, "init generator"), z, False, condition)
    image = jnp.zeros((1, *game.spec.shape))
    seen = None if condition is None else condition[:1]
    d = game.d_network.init(stream(key, "init discriminator"), image, False, seen)
    aux: dict[str, Any] = {
        "average_real": jnp.zeros(()),
        "average_fake": jnp.zeros(()),
        "penalty": {name: jnp.zeros(()) for name in config.penalties},
    }
    if config.generator_penalties:
        zeros = {"value": jnp.zeros(()), "mean": jnp.zeros(())}
        aux["generator_penalty"] = {
            name: jax.tree.map(jnp.copy, zeros) for name in config.generator_penalties
        }
    if config.historical_averaging:
        aux["history"] = {
            "generator": jax.tree.map(jnp.copy, g["params"]),
            "discriminator": jax.tree.map(jnp.copy, d["params"]),
        }
    if config.ada_target is not None:
        aux |= {"augment_p": jnp.float32(config.ada_p), "augment_sign": jnp.zeros(())}
    return GANState(
        step=jnp.zeros((), jnp.int32),
        key=key,
        generator=make_player(
            g, game.g_optimizer, config.ema_decay is not None, len(config.ema_profiles)
        ),
        discriminator=make_player(d, game.d_optimizer, average=False),
        aux=aux,
    )


def split_updates(
    game: Game, state: GANState, batch: Batch
) -> tuple[Examples, Shaped[Array, "batch updates ..."] | None]:
    """The examples of each of D's updates, [batch, updates, ...], and what is known of them if any.

    Both players draw the same of several captions.
    """
    # Examples of one update are strided, so that splitting the batch over devices by its
    # first axis never moves an image from one device to another.
    updates = game.config.discriminator_updates
    images = batch[game.spec.target]
    real = images.reshape(-1, updates, *game.spec.shape)
    if not game.conditioning.labelled:
        return real, None
    fields = {name: batch[name] for name in game.conditioning.given(game.spec).given}
    place = example_index(images.shape[0], game.axis_name)
    key = stream(state.key, "known", state.step)
    known = game.conditioning.read(fields, getattr(state, "frozen", {}), key, place)
    assert known is not None
    return real, known.reshape(-1, updates, *known.shape[1:])


def part_key(key: Key, part: int) -> Key:
    """Of what networks draw within: another one for each part of a batch, by its number."""
    return stream(key, "part", part) if part else key


def generate(
    game: Game, player: NetState, params: Params, key: Key, place: Index, known: Known | None
) -> tuple[Examples, Embedding | None, Variables]:
    """Runs G in training mode on fresh noise.

    Args:
      game: the GAN.
      player: G; its collections are used.
      params: G's parameters.
      key: of the noise.
      place: int32 [batch], of the examples in the whole batch.
      known: of the examples beside which they are made; None for nothing.

    Returns:
      The examples, what they were made from, and G's other collections afterwards.
    """
    condition = game.conditioning.draw(key, place, known)
    z = latents(stream(key, "latent"), place, game.config.latent)
    network, variables = game.g_network, player.variables
    if not has_styles(network):
        images, variables = apply_training(network, params, variables, z, condition)
        return images, condition, variables
    mixing = game.config.style_mixing
    styles, variables = draw_styles(network, params, variables, z, condition, mixing, key, place)
    images = synthesize(game, params, variables, styles, key, place)
    return images, condition, variables


def synthesize(
    game: Game, params: Params, variables: Variables, styles: Styles, key: Key, place: Index
) -> Examples:
    """Makes examples of styles in training; `key` and `place` are of the noise that G adds."""
    examples, _ = apply_training(
        game.g_network, params, variables, styles, noise_keys(key, place), method="synthesize"
    )
    return examples


def draw(game: Game, player: NetState, key: Key, place: Index, known: Known | None) -> Drawn:
    """Generates examples, keeping what the gradient of G's parameters needs; see `generate`."""

    def images_of(params: Params) -> tuple[Examples, tuple[Embedding | None, Variables]]:
        images, condition, variables = generate(game, player, params, key, place, known)
        return images, (condition, variables)

    images, pull, (condition, variables) = jax.vjp(images_of, player.params, has_aux=True)
    return Drawn(images, pull, condition, variables)


def judge(
    game: Game,
    params: Params,
    variables: Variables,
    images: Examples,
    condition: Embedding | None,
    key: Key,
) -> tuple[Judgement, Variables]:
    """Runs D in training mode.

    Args:
      game: the GAN.
      params: D's parameters.
      variables: D's other collections.
      images: [batch, ...].
      condition: of the images.
      key: of what D draws.

    Returns:
      What D says, with the logits of the whole batch; and its other collections afterwards.
    """
    judgement, changed = apply_training(
        game.d_network, params, variables, images, condition, rngs={"dropout": key}
    )
    return judgement._replace(logits=gather_batch(judgement.logits, game.axis_name)), changed


def recognition_loss(
    game: Game, judgement: Judgement, condition: Embedding | None
) -> Float[Array, ""]:
    """The mean loss of D's further task on a batch; 0 where it has none."""
    task = game.conditioning.recognition
    if task is None or condition is None:
        return jnp.zeros(())
    return jnp.mean(task.loss(game.config, judgement.auxiliary, condition))
