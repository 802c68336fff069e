"""The adversarial step: k discriminator updates, one generator update, one moving average."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from genjax.algorithm import Algorithm, ema_update, global_norm, pmean
from genjax.config import GANConfig
from genjax.errors import lookup
from genjax.gan.losses import LOSSES
from genjax.nn.networks import make_discriminator, make_generator
from genjax.optimizers import make_optimizer
from genjax.rng import example_index, latents, stream
from genjax.types import (
    Batch,
    BatchSpec,
    Images,
    Index,
    Key,
    Logits,
    Metrics,
    NetState,
    Params,
    PerExample,
    Variables,
)


@flax.struct.dataclass
class GANState:
    """Everything that adversarial training changes.

    Attributes:
      step: int32 scalar, generator updates made.
      key: the base key of the run; it never changes.
      generator: G's parameters, statistics, optimizer and moving average.
      discriminator: D's.
    """

    step: Int[Array, ""]
    key: Key
    generator: NetState
    discriminator: NetState


def make_gan(config: GANConfig, spec: BatchSpec, axis_name: str | None = None) -> Algorithm:
    """Composes a GAN from its axes.

    In a step, D makes `discriminator_updates` updates, each on real images and noise of its own,
    then G makes one on fresh noise against the new D. D's batch norm sees real and fake images
    apart. Gradients are averaged over `axis_name`.

    Args:
      config: the axes.
      spec: shape of the data.
      axis_name: mapped axis over the devices (pmap); None where the program sees the whole batch.

    Returns:
      The algorithm. Its step takes ``batch["image"]`` in [-1, 1].

    Raises:
      UserError: an unknown network, loss or optimizer, or an image size a network can't make.
    """
    loss = lookup(LOSSES, config.loss, "adversarial loss")
    dtype = jnp.dtype(config.dtype)
    g_network: Any = make_generator(config.generator, spec.image, dtype, axis_name)
    d_network: Any = make_discriminator(config.discriminator, dtype, axis_name)
    g_optimizer = make_optimizer(config.generator_optimizer)
    d_optimizer = make_optimizer(config.discriminator_optimizer)
    updates = config.discriminator_updates

    def init(key: Key) -> GANState:
        z = jnp.zeros((1, config.latent))
        image = jnp.zeros((1, *spec.image))
        g = g_network.init(stream(key, "init generator"), z, train=False)
        d = d_network.init(stream(key, "init discriminator"), image, train=False)
        return GANState(
            step=jnp.zeros((), jnp.int32),
            key=key,
            generator=_player(g, g_optimizer, average=config.ema_decay is not None),
            discriminator=_player(d, d_optimizer, average=False),
        )

    def generate(
        player: NetState, params: Params, key: Key, index: Index
    ) -> tuple[Images, Variables]:
        z = latents(key, index, config.latent)
        return _apply(g_network, params, player.variables, z)

    def discriminate(
        params: Params, variables: Variables, images: Images, key: Key
    ) -> tuple[Logits, Variables]:
        return _apply(d_network, params, variables, images, {"dropout": key})

    def discriminator_loss(
        params: Params, variables: Variables, real: Images, fake: Images, key: Key
    ) -> tuple[Any, tuple[Logits, Logits, Variables]]:
        real_logits, variables = discriminate(params, variables, real, stream(key, "real"))
        fake_logits, variables = discriminate(params, variables, fake, stream(key, "fake"))
        per_example = loss.discriminator(real_logits, fake_logits)
        return jnp.mean(per_example), (real_logits, fake_logits, variables)

    def generator_loss(
        params: Params, g: NetState, d: NetState, real: Images, index: Index, key: Key
    ) -> tuple[Any, Variables]:
        fake, variables = generate(g, params, stream(key, "latent"), index)
        fake_logits, _ = discriminate(d.params, d.variables, fake, stream(key, "fake"))
        real_logits = None
        if loss.paired:
            real_logits, _ = discriminate(d.params, d.variables, real, stream(key, "real"))
        per_example: PerExample = loss.generator(real_logits, fake_logits)
        return jnp.mean(per_example), variables

    def step(state: GANState, batch: Batch) -> tuple[GANState, Metrics]:
        # Examples of one update are strided, so that splitting the batch over devices by its
        # first axis never moves an image from one device to another.
        images = batch["image"]
        real = images.reshape(-1, updates, *images.shape[1:])
        index = example_index(real.shape[0], axis_name)
        g, d = state.generator, state.discriminator

        for update in range(updates):
            key = stream(state.key, "discriminator update", state.step, update)
            fake, _ = generate(g, g.params, stream(key, "latent"), index)
            value_and_grad = jax.value_and_grad(discriminator_loss, has_aux=True)
            (d_loss, (real_logits, fake_logits, variables)), grads = value_and_grad(
                d.params, d.variables, real[:, update], fake, key
            )
            d_grads = pmean(grads, axis_name)
            d = _update(d, d_grads, variables, d_optimizer)

        key = stream(state.key, "generator update", state.step)
        (g_loss, variables), grads = jax.value_and_grad(generator_loss, has_aux=True)(
            g.params, g, d, real[:, -1], index, key
        )
        g_grads = pmean(grads, axis_name)
        g = _update(g, g_grads, variables, g_optimizer)
        if config.ema_decay is not None:
            average = ema_update(g.ema, {"params": g.params, **g.variables}, config.ema_decay)
            g = dataclasses.replace(g, ema=average)

        means = {
            "discriminator/loss": d_loss,
            "discriminator/real_logit": jnp.mean(real_logits),
            "discriminator/fake_logit": jnp.mean(fake_logits),
            "generator/loss": g_loss,
        }
        metrics = {
            **pmean(means, axis_name),
            "discriminator/gradient_norm": global_norm(d_grads),
            "generator/gradient_norm": global_norm(g_grads),
        }
        state = dataclasses.replace(state, step=state.step + 1, generator=g, discriminator=d)
        return state, metrics

    def sample(state: GANState, key: Key, index: Index) -> Images:
        player = state.generator
        variables = player.ema or {"params": player.params, **player.variables}
        z = latents(key, index, config.latent)
        images: Images = g_network.apply(variables, z, train=False)
        return images

    return Algorithm(init, step, sample, evaluate=None, examples=spec.size * updates)


def _player(
    variables: Variables, optimizer: optax.GradientTransformation, average: bool
) -> NetState:
    """Splits initialised variables into a player's state."""
    others = {name: value for name, value in variables.items() if name != "params"}
    params = variables["params"]
    # A copy: two leaves that share a buffer can't both be donated.
    ema = jax.tree.map(jnp.copy, dict(variables)) if average else None
    return NetState(params=params, variables=others, opt=optimizer.init(params), ema=ema)


def _apply(
    module: Any,
    params: Params,
    variables: Variables,
    inputs: Array,
    rngs: dict[str, Key] | None = None,
) -> tuple[Any, Variables]:
    """Runs a network in training mode; returns its output and the collections it changed."""
    output, changed = module.apply(
        {"params": params, **variables}, inputs, train=True, mutable=list(variables), rngs=rngs
    )
    return output, changed


def _update(
    player: NetState,
    grads: Params,
    variables: Variables,
    optimizer: optax.GradientTransformation,
) -> NetState:
    """Applies one optimizer update to a player and takes over its new statistics."""
    updates, opt = optimizer.update(grads, player.opt, player.params)
    params = optax.apply_updates(player.params, updates)
    return dataclasses.replace(player, params=params, variables=variables, opt=opt)
