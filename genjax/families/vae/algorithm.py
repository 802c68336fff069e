"""The variational autoencoder: its step, its bounds on the likelihood, and what it makes."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import VAEConfig
from genjax.core.algorithm import Algorithm, global_norm, pmean
from genjax.core.optimizers import make_optimizer
from genjax.core.players import (
    apply_training,
    make_player,
    move_average,
    sampling_variables,
    update_player,
)
from genjax.core.rng import example_index, latents, stream
from genjax.core.types import (
    Batch,
    BatchSpec,
    Condition,
    Images,
    Index,
    Key,
    Labels,
    Metrics,
    NetState,
    Params,
    PerExample,
    Variables,
)
from genjax.errors import UserError, lookup
from genjax.families.vae.likelihoods import LIKELIHOODS, Likelihood, binarize, bits_per_dim
from genjax.families.vae.networks import (
    Autoencoder,
    Decoder,
    Encoder,
    Posterior,
    draw,
    kl_divergence,
    log_density,
    require_plain,
)
from genjax.nn.networks import make_decoder, make_encoder, make_layers

SHOWN = 16
"""Images that are shown beside their reconstructions."""
_MANIFOLD_SIDE = 16


@flax.struct.dataclass
class VAEState:
    """Everything that training changes.

    Attributes:
      step: int32 scalar, updates made.
      key: the base key of the run; it never changes.
      autoencoder: encoder and decoder, their statistics, optimizer and moving average.
    """

    step: Int[Array, ""]
    key: Key
    autoencoder: NetState


class Bounds(NamedTuple):
    """Lower bounds on ``log p(x)`` from K samples an image.

    Attributes:
      elbo: float32 [batch], the mean of their log weights.
      iwae: float32 [batch], the logarithm of their mean weight.
    """

    elbo: PerExample
    iwae: PerExample


def importance_bounds(
    log_weight: Callable[[Int[Array, ""]], PerExample], samples: int, batch: int
) -> Bounds:
    """Bounds on log p(x) whose memory does not grow with the number of samples.

    With ``log w_k = log p(x|z_k) + log p(z_k) - log q(z_k|x)`` and z_k ~ q(z|x),
    ``ELBO = mean_k log w_k`` and ``IWAE = log mean_k w_k``, which is at least the former.

    Args:
      log_weight: from a sample's number, int32 scalar, to its log weights, float32 [batch].
      samples: K, at least 1.
      batch: number of images.

    Returns:
      The bounds.

    Reference: Burda et al. 2016, equation 8.
    """

    def add(
        carry: tuple[PerExample, PerExample, PerExample], number: Int[Array, ""]
    ) -> tuple[tuple[PerExample, PerExample, PerExample], None]:
        mean, largest, total = carry
        weight = log_weight(number)
        mean += (weight - mean) / (number + 1)
        new_largest = jnp.maximum(largest, weight)
        total = total * jnp.exp(largest - new_largest) + jnp.exp(weight - new_largest)
        return (mean, new_largest, total), None

    start = (jnp.zeros(batch), jnp.full(batch, -jnp.inf), jnp.zeros(batch))
    (mean, largest, total), _ = jax.lax.scan(add, start, jnp.arange(samples))
    return Bounds(mean, largest + jnp.log(total / samples))


def make_vae(config: VAEConfig, spec: BatchSpec, axis_name: str | None = None) -> Algorithm:
    """Builds a variational autoencoder.

    A step minimises ``-log p(x|z) + beta KL(q(z|x) || p(z))``, averaged over the batch, with one
    z ~ q(z|x) an image; beta grows linearly during the warm-up. With free bits the second term is
    ``beta sum_j max(free_bits, KL_j)``, where KL_j is dimension j's divergence averaged over the
    batch of all devices.

    Args:
      config: the model.
      spec: shape of the data.
      axis_name: mapped axis over the devices (pmap); None where the program sees the whole batch.

    Returns:
      The algorithm. It takes ``batch["image"]`` in [-1, 1] and, if it is conditional,
      ``batch["label"]``. `evaluate` needs a key of its own for each batch.

    Raises:
      UserError: an unknown name, settings that do not fit each other or the data, or an image size
        a network can't make.

    Reference: Kingma & Welling 2014, section 2.3; Kingma et al. 2016, "free bits".
    """
    likelihood = lookup(LIKELIHOODS, config.likelihood, "likelihood")
    _check(config, spec, likelihood)
    network = make_autoencoder(config, spec, axis_name, likelihood)
    optimizer = make_optimizer(config.optimizer)
    binary = likelihood.binary and config.binarize

    def init(key: Key) -> VAEState:
        images, noise = jnp.zeros((1, *spec.image)), jnp.zeros((1, config.latent))
        condition = one_hot(jnp.zeros(1, jnp.int32))
        variables = network.init(stream(key, "init autoencoder"), images, False, noise, condition)
        return VAEState(
            step=jnp.zeros((), jnp.int32),
            key=key,
            autoencoder=make_player(variables, optimizer, average=config.ema_decay is not None),
        )

    def one_hot(labels: Labels) -> Condition | None:
        return jax.nn.one_hot(labels, spec.classes) if config.conditional else None

    def observe(batch: Batch, key: Key, index: Index) -> tuple[Images, Condition | None]:
        """The images as the likelihood wants them, and their condition."""
        images = batch["image"]
        if binary:
            images = binarize(images, stream(key, "binarize"), index)
        return images, one_hot(batch["label"]) if config.conditional else None

    def loss(
        params: Params, player: NetState, batch: Batch, step: Int[Array, ""], key: Key
    ) -> tuple[Any, tuple[Metrics, Variables]]:
        index = example_index(batch["image"].shape[0], axis_name)
        images, condition = observe(batch, key, index)
        noise = latents(stream(key, "latent"), index, config.latent)
        (posterior, output, log_scale), variables = apply_training(
            network,
            params,
            player.variables,
            images,
            noise,
            condition,
            rngs={"dropout": stream(key, "dropout")},
        )
        reconstruction = -jnp.mean(likelihood.log_prob(images, output, log_scale))
        divergence = jnp.mean(kl_divergence(posterior), axis=0)
        charged = divergence
        if config.free_bits:
            charged = jnp.maximum(pmean(divergence, axis_name), config.free_bits)
        total = reconstruction + kl_weight(config, step) * jnp.sum(charged)
        kl = jnp.sum(divergence)
        metrics = {
            "autoencoder/loss": total,
            "autoencoder/elbo": -reconstruction - kl,
            "autoencoder/kl": kl,
            "autoencoder/reconstruction": reconstruction,
            "autoencoder/bits_per_dim": bits_per_dim(-reconstruction - kl, spec.image, likelihood),
        }
        return total, (metrics, variables)

    def step(state: VAEState, batch: Batch) -> tuple[VAEState, Metrics]:
        player = state.autoencoder
        key = stream(state.key, "autoencoder update", state.step)
        (_, (metrics, variables)), grads = jax.value_and_grad(loss, has_aux=True)(
            player.params, player, batch, state.step, key
        )
        grads = pmean(grads, axis_name)
        player = update_player(player, grads, variables, optimizer)
        if config.ema_decay is not None:
            player = move_average(player, config.ema_decay)
        metrics = {**pmean(metrics, axis_name), "autoencoder/gradient_norm": global_norm(grads)}
        return dataclasses.replace(state, step=state.step + 1, autoencoder=player), metrics

    def encode(state: VAEState, images: Images, condition: Condition | None) -> Posterior:
        variables = sampling_variables(state.autoencoder)
        posterior: Posterior = network.apply(variables, images, condition, method="encode")
        return posterior

    def decode(state: VAEState, z: Array, condition: Condition | None) -> tuple[Images, Array]:
        variables = sampling_variables(state.autoencoder)
        output: tuple[Images, Array] = network.apply(variables, z, condition, method="decode")
        return output

    def evaluate(state: VAEState, batch: Batch, key: Key) -> Metrics:
        index = example_index(batch["image"].shape[0], None)
        images, condition = observe(batch, key, index)
        posterior = encode(state, images, condition)
        prior = Posterior(jnp.zeros(()), jnp.zeros(()))

        def log_weight(number: Int[Array, ""]) -> PerExample:
            z = draw(posterior, latents(stream(key, "latent", number), index, config.latent))
            log_prob = likelihood.log_prob(images, *decode(state, z, condition))
            return log_prob + log_density(z, prior) - log_density(z, posterior)

        bounds = importance_bounds(log_weight, config.importance_samples, len(index))
        iwae = jnp.mean(bounds.iwae)
        return {
            "evaluation/elbo": jnp.mean(bounds.elbo),
            "evaluation/iwae": iwae,
            "evaluation/bits_per_dim": bits_per_dim(iwae, spec.image, likelihood),
            "evaluation/kl": jnp.mean(jnp.sum(kl_divergence(posterior), axis=-1)),
        }

    def generate(state: VAEState, z: Array, labels: Labels) -> Images:
        return likelihood.mean(decode(state, z, one_hot(labels))[0])

    def sample(state: VAEState, key: Key, index: Index, label: Labels | None) -> Images:
        labels = index % max(spec.classes, 1) if label is None else label
        return generate(state, latents(key, index, config.latent), labels)

    def panels(state: VAEState, batch: Batch, key: Key) -> list[Images]:
        batch = {name: rows[:SHOWN] for name, rows in batch.items()}
        images, condition = observe(batch, key, example_index(batch["image"].shape[0], None))
        z = encode(state, images, condition).mean
        shown = [alternate(images, likelihood.mean(decode(state, z, condition)[0]))]
        if config.latent == 2:
            grid = manifold_grid(_MANIFOLD_SIDE)
            for label in range(spec.classes if config.conditional else 1):
                shown.append(generate(state, grid, jnp.full(len(grid), label)))
        return shown

    return Algorithm(
        init,
        step,
        sample,
        evaluate,
        examples=spec.size,
        classes=spec.classes if config.conditional else 0,
        panels=panels,
    )


def make_autoencoder(
    config: VAEConfig, spec: BatchSpec, axis_name: str | None, likelihood: Likelihood
) -> Any:
    """Builds the network, without parameters.

    Args:
      config: the model.
      spec: shape of the data.
      axis_name: mapped axis over the devices, if any.
      likelihood: an entry of `LIKELIHOODS`.

    Returns:
      An `Autoencoder`.

    Raises:
      UserError: an unknown architecture, or an image size it can't make.
    """
    dtype = jnp.dtype(config.dtype)
    layers = make_layers(config.encoder, dtype, axis_name)
    encoder = Encoder(make_encoder(config.encoder, layers, "encoder"), config.latent, layers)
    d_layers = make_layers(config.decoder, dtype, axis_name)
    decoder = make_decoder(config.decoder, spec.image, d_layers, "decoder")
    return Autoencoder(encoder, Decoder(decoder, likelihood.scaled, config.scale))


def kl_weight(config: VAEConfig, step: Int[Array, ""]) -> Float[Array, ""] | float:
    """``beta * min(1, step / beta_warmup)``; `step` counts the updates made before."""
    if not config.beta_warmup:
        return config.beta
    return config.beta * jnp.minimum(1.0, step / config.beta_warmup)


def alternate(images: Images, others: Images) -> Float[Array, "2*batch height width channels"]:
    """Two batches one image after the other, ``[a0, b0, a1, b1, ...]``."""
    return jnp.stack([images, others], axis=1).reshape(-1, *images.shape[1:])


def manifold_grid(side: int) -> Float[Array, "grid 2"]:
    """Points of the plane that share out the mass of N(0, I) evenly.

    Args:
      side: points along each axis.

    Returns:
      float32 [side * side, 2], row by row: quantiles ``(i + 1/2) / side`` of the normal
      distribution along both axes.

    Reference: Kingma & Welling 2014, appendix A.
    """
    quantiles = jax.scipy.special.ndtri((jnp.arange(side) + 0.5) / side)
    return jnp.stack(jnp.meshgrid(quantiles, quantiles, indexing="ij"), -1).reshape(-1, 2)


def _check(config: VAEConfig, spec: BatchSpec, likelihood: Likelihood) -> None:
    """Refuses settings that do not fit each other or the data."""
    require_plain(config.encoder, "encoder")
    require_plain(config.decoder, "decoder")
    if config.conditional and not spec.classes:
        raise UserError("a conditional model needs class labels, and the data set has none")
    if config.scale is not None and not likelihood.scaled:
        raise UserError(
            f"scale is {config.scale}, but the likelihood {config.likelihood!r} has none; leave it "
            "out"
        )
