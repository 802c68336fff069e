"""The variational autoencoder: its step, its bounds on the likelihood, and what it makes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import AutoencoderKL, VAEConfig
from genjax.core.algorithm import Algorithm, LogLikelihood, plain_latent, pmean, sample_by
from genjax.core.from_loss import Context, from_loss
from genjax.core.optimizers import make_optimizer
from genjax.core.players import (
    apply_training,
    sampling_variables,
)
from genjax.core.rng import example_index, latents, stream
from genjax.core.schema import NO_LABELS, Spec, check_continuous
from genjax.core.types import (
    Batch,
    Embedding,
    Examples,
    Index,
    Key,
    Labels,
    Metrics,
    NetState,
    Params,
    PerExample,
    Variables,
)
from genjax.domains.image import bits_per_dim
from genjax.errors import UserError, lookup
from genjax.families.vae.likelihoods import LIKELIHOODS, Likelihood, binarize
from genjax.families.vae.networks import (
    Autoencoder,
    Decoder,
    Encoder,
    Posterior,
    draw,
    kl_divergence,
    log_density,
)
from genjax.nn.networks import make_decoder, make_encoder, make_layers

SHOWN = 16
"""Examples that are shown beside their reconstructions."""
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


def make_vae(
    config: VAEConfig, spec: Spec, axis_name: str | None = None, accumulate: int = 1
) -> Algorithm:
    """Builds a variational autoencoder.

    A step minimises ``-log p(x|z) + beta KL(q(z|x) || p(z))``, averaged over the batch, with one
    z ~ q(z|x) an image; beta grows linearly during the warm-up. With free bits the second term is
    ``beta sum_j max(free_bits, KL_j)``, where KL_j is dimension j's divergence averaged over the
    batch of all devices.

    Args:
      config: the model.
      spec: of the data.
      axis_name: mapped axis over the devices (pmap); None where the program sees the whole batch.
      accumulate: parts of the batch whose gradients are averaged; each counts its own free bits.

    Returns:
      The algorithm. It takes the target in [-1, 1] and, if it is conditional,
      ``batch["label"]``. `evaluate` needs a key of its own for each batch.

    Raises:
      UserError: an unknown name, settings that do not fit each other or the data, or an image size
        a network can't make.

    Reference: Kingma & Welling 2014, section 2.3; Kingma et al. 2016, "free bits".
    """
    likelihood = lookup(LIKELIHOODS, config.likelihood, "likelihood")
    check_continuous(spec, "a VAE")
    _check(config, spec, likelihood)
    network = make_autoencoder(config, spec, axis_name, likelihood)
    binary = likelihood.binary and config.binarize

    def variables(key: Key) -> Variables:
        images, noise = jnp.zeros((1, *spec.shape)), jnp.zeros((1, config.latent))
        found: Variables = network.init(
            stream(key, "init autoencoder"),
            images,
            False,
            noise,
            one_hot(jnp.zeros(1, jnp.int32)),
        )
        return found

    def one_hot(labels: Labels) -> Embedding | None:
        return jax.nn.one_hot(labels, spec.classes) if config.conditional else None

    def observe(batch: Batch, key: Key, index: Index) -> tuple[Examples, Embedding | None]:
        """The images as the likelihood wants them, and their condition."""
        images = batch[spec.target]
        if binary:
            images = binarize(images, stream(key, "binarize"), index)
        return images, one_hot(batch["label"]) if config.conditional else None

    def bits(where: str, log_prob: Array) -> dict[str, Array]:
        """Bits per dimension, which are counted of bytes: of images alone."""
        if len(spec.shape) != 3:
            return {}
        return {f"{where}/bits_per_dim": bits_per_dim(log_prob, spec.shape, likelihood.level)}

    def loss(
        params: Params, batch: Batch, context: Context
    ) -> tuple[Float[Array, ""], tuple[Metrics, Variables]]:
        images, condition = observe(batch, context.key, context.place)
        noise = latents(stream(context.key, "latent"), context.place, config.latent)
        (posterior, output, log_scale), changed = apply_training(
            network,
            params,
            context.variables,
            images,
            noise,
            condition,
            rngs={"dropout": context.dropout},
        )
        reconstruction = -jnp.mean(likelihood.log_prob(images, output, log_scale))
        divergence = jnp.mean(kl_divergence(posterior), axis=0)
        charged = divergence
        if config.free_bits:
            charged = jnp.maximum(pmean(divergence, axis_name), config.free_bits)
        total = reconstruction + kl_weight(config, context.step) * jnp.sum(charged)
        kl = jnp.sum(divergence)
        metrics = {
            "autoencoder/loss": total,
            "autoencoder/elbo": -reconstruction - kl,
            "autoencoder/kl": kl,
            "autoencoder/reconstruction": reconstruction,
            **bits("autoencoder", -reconstruction - kl),
        }
        return total, (metrics, changed)

    minimiser = from_loss(
        VAEState,
        "autoencoder",
        variables,
        loss,
        make_optimizer(config.optimizer, spec.size),
        config.ema_decay,
        config.ema_profiles,
        accumulate,
        axis_name,
    )

    def encode(state: VAEState, images: Examples, condition: Embedding | None) -> Posterior:
        variables = sampling_variables(state.autoencoder)
        posterior: Posterior = network.apply(variables, images, condition, method="encode")
        return posterior

    def decode(state: VAEState, z: Array, condition: Embedding | None) -> tuple[Examples, Array]:
        variables = sampling_variables(state.autoencoder)
        output: tuple[Examples, Array] = network.apply(variables, z, condition, method="decode")
        return output

    def evaluate(state: VAEState, batch: Batch, key: Key) -> dict[str, PerExample]:
        index = example_index(batch[spec.target].shape[0], None)
        images, condition = observe(batch, key, index)
        posterior = encode(state, images, condition)
        prior = Posterior(jnp.zeros(()), jnp.zeros(()))

        def log_weight(number: Int[Array, ""]) -> PerExample:
            z = draw(posterior, latents(stream(key, "latent", number), index, config.latent))
            log_prob = likelihood.log_prob(images, *decode(state, z, condition))
            return log_prob + log_density(z, prior) - log_density(z, posterior)

        bounds = importance_bounds(log_weight, config.importance_samples, len(index))
        return {
            "evaluation/loss": -bounds.elbo,
            "evaluation/elbo": bounds.elbo,
            "evaluation/iwae": bounds.iwae,
            **bits("evaluation", bounds.iwae),
            "evaluation/kl": jnp.sum(kl_divergence(posterior), axis=-1),
        }

    def log_likelihood(state: VAEState, batch: Batch, key: Key) -> dict[str, PerExample]:
        found = evaluate(state, batch, key)
        return {name: found[f"evaluation/{name}"] for name in parameters}

    parameters = {
        name: {"samples of z": config.importance_samples}
        for name in ("elbo", "iwae", *(("bits_per_dim",) if len(spec.shape) == 3 else ()))
    }

    def generate(state: VAEState, z: Array, labels: Labels | None) -> Examples:
        condition = None if labels is None else one_hot(labels)
        return likelihood.mean(decode(state, z, condition)[0])

    latent = plain_latent(
        lambda key, index: latents(key, index, config.latent),
        lambda state, z, key, index, given: generate(state, z, given.get("label")),
    )

    def show(state: VAEState, batch: Batch, key: Key) -> dict[str, Examples]:
        batch = {name: rows[:SHOWN] for name, rows in batch.items()}
        images, condition = observe(batch, key, example_index(batch[spec.target].shape[0], None))
        z = encode(state, images, condition).mean
        shown = {
            "reconstructions": alternate(images, likelihood.mean(decode(state, z, condition)[0]))
        }
        if config.latent == 2:
            grid = manifold_grid(_MANIFOLD_SIDE)
            for label in range(spec.classes if config.conditional else 1):
                labels = jnp.full(len(grid), label)
                shown[f"manifold {label}"] = generate(state, grid, labels)
        return shown

    return Algorithm(
        spec=spec._replace(given=("label",) if config.conditional else ()),
        examples=spec.size,
        init=minimiser.init,
        step=minimiser.step,
        sample=sample_by(latent),
        evaluate=evaluate,
        show=show,
        latent=latent,
        log_likelihood=LogLikelihood(log_likelihood, parameters),
    )


def make_autoencoder(
    config: VAEConfig, spec: Spec, axis_name: str | None, likelihood: Likelihood
) -> Any:
    """Builds the network, without parameters.

    Args:
      config: the model.
      spec: of the data.
      axis_name: mapped axis over the devices, if any.
      likelihood: an entry of `LIKELIHOODS`.

    Returns:
      An `Autoencoder`.

    Raises:
      UserError: an unknown architecture, or an image size it can't make.
    """
    dtype = jnp.dtype(config.dtype)
    layers = make_layers(config.encoder, dtype, axis_name)
    encoder = Encoder(
        make_encoder(config.encoder, spec.shape, layers, "encoder"), config.latent, layers
    )
    d_layers = make_layers(config.decoder, dtype, axis_name)
    decoder = make_decoder(config.decoder, spec.shape, d_layers, "decoder")
    return Autoencoder(encoder, Decoder(decoder, likelihood.scaled, config.scale))


def kl_weight(config: VAEConfig, step: Int[Array, ""]) -> Float[Array, ""] | float:
    """``beta * min(1, step / beta_warmup)``; `step` counts the updates made before."""
    if not config.beta_warmup:
        return config.beta
    return config.beta * jnp.minimum(1.0, step / config.beta_warmup)


def alternate(images: Examples, others: Examples) -> Float[Array, "2*batch height width channels"]:
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


def _check(config: VAEConfig, spec: Spec, likelihood: Likelihood) -> None:
    """Refuses settings that do not fit each other or the data."""
    if config.conditional and not spec.classes:
        raise UserError(f"a conditional model needs class labels, and {NO_LABELS}")
    if likelihood.images and len(spec.shape) != 3:
        others = [name for name, other in LIKELIHOODS.items() if not other.images]
        raise UserError(
            f"the likelihood {config.likelihood!r} is for images, but examples have shape "
            f"{spec.shape}; choices: {', '.join(sorted(others))}"
        )
    if config.conditional and isinstance(config.decoder, AutoencoderKL):
        raise UserError("a decoder kl makes images of a map alone; turn conditional off")
    if config.scale is not None and not likelihood.scaled:
        raise UserError(
            f"scale is {config.scale}, but the likelihood {config.likelihood!r} has none; leave it "
            "out"
        )
