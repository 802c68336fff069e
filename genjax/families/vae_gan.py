"""The VAE/GAN: an autoencoder that measures its reconstructions in a discriminator's features."""

import dataclasses
from typing import Any, NamedTuple, TypeAlias

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import VAEGANConfig
from genjax.core.algorithm import Algorithm, global_norm, plain_latent, pmean, sample_by
from genjax.core.from_loss import mean_over_parts
from genjax.core.optimizers import make_optimizer
from genjax.core.players import (
    apply_training,
    make_player,
    move_average,
    move_profiles,
    sampling_variables,
    update_player,
)
from genjax.core.rng import example_index, latents, stream
from genjax.core.schema import Spec, check_continuous
from genjax.core.types import (
    Batch,
    Examples,
    Index,
    Key,
    Metrics,
    NetState,
    Params,
    Variables,
)
from genjax.errors import lookup
from genjax.families.gan.losses import LOSSES, preference
from genjax.families.gan.networks import Discriminator, Generator, Judgement
from genjax.families.gan.signs import adversarial_signs
from genjax.families.vae.algorithm import SHOWN, alternate
from genjax.families.vae.networks import Encoder, draw, kl_divergence
from genjax.nn.layers import gather_batch
from genjax.nn.networks import make_decoder, make_encoder, make_layers

Scalar: TypeAlias = Float[Array, ""] | float


@flax.struct.dataclass
class VAEGANState:
    """Everything that training changes.

    Attributes:
      step: int32 scalar, updates made by each player.
      key: the base key of the run; it never changes.
      encoder: from images to the posterior of z.
      generator: the decoder.
      discriminator: tells real images from generated ones, and gives the features.
    """

    step: Int[Array, ""]
    key: Key
    encoder: NetState
    generator: NetState
    discriminator: NetState


class Terms(NamedTuple):
    """Parts of the losses, averaged over the batch; or their weights in one player's loss.

    Attributes:
      prior: the posterior's divergence from N(0, I).
      likelihood: how far features of reconstructions are from those of their images.
      generator: the generator's side of the adversarial game.
      discriminator: the discriminator's.
    """

    prior: Scalar
    likelihood: Scalar
    generator: Scalar
    discriminator: Scalar


def make_vae_gan(
    config: VAEGANConfig, spec: Spec, axis_name: str | None = None, accumulate: int = 1
) -> Algorithm:
    """Builds a VAE/GAN.

    With z ~ q(z|x) and z' ~ N(0, I), a reconstruction is G(z) and a sample G(z'). The terms are
    ``L_prior = KL(q(z|x) || N(0, I))``, ``L_like = |f(x) - f(G(z))|^2 / 2`` of D's features f (the
    negative log-likelihood of a Gaussian of unit variance, less its constant), and the two sides of
    the adversarial game, each the mean of the games of x against G(z) and of x against G(z').
    All players move at once, each on its own loss:

    - encoder: ``beta L_prior + L_like``
    - generator: ``reconstruction L_like + L_G``
    - discriminator: ``L_D``

    The paper weighs reconstructions and samples 1 each in the game; the means weigh them 1/2, as
    its authors' code does, so that D sees as much real as generated.

    Args:
      config: the model.
      spec: of the data.
      axis_name: mapped axis over the devices (pmap); None where the program sees the whole batch.
      accumulate: parts of the batch whose gradients are averaged.

    Returns:
      The algorithm. It takes the target in [-1, 1].

    Raises:
      UserError: an unknown name, networks with labels, or an image size a network can't make.

    Reference: Larsen et al. 2016, algorithm 1.
    """
    loss = lookup(LOSSES, config.loss, "adversarial loss")
    check_continuous(spec, "a VAE/GAN")
    encoder, generator, discriminator = make_networks(config, spec, axis_name)
    optimizers = {
        "encoder": make_optimizer(config.encoder_optimizer, spec.size),
        "generator": make_optimizer(config.generator_optimizer, spec.size),
        "discriminator": make_optimizer(config.discriminator_optimizer, spec.size),
    }
    weights = {
        "encoder": Terms(config.beta, 1.0, 0.0, 0.0),
        "generator": Terms(0.0, config.reconstruction, 1.0, 0.0),
        "discriminator": Terms(0.0, 0.0, 0.0, 1.0),
    }

    def init(key: Key) -> VAEGANState:
        images, z = jnp.zeros((1, *spec.shape)), jnp.zeros((1, config.latent))
        variables = {
            "encoder": encoder.init(stream(key, "init encoder"), images, False),
            "generator": generator.init(stream(key, "init generator"), z, False),
            "discriminator": discriminator.init(stream(key, "init discriminator"), images, False),
        }
        averages = {"generator": (config.ema_decay is not None, len(config.ema_profiles))}
        players = {
            name: make_player(value, optimizers[name], *averages.get(name, (False, 0)))
            for name, value in variables.items()
        }
        return VAEGANState(step=jnp.zeros((), jnp.int32), key=key, **players)

    def terms(
        params: dict[str, Params],
        variables: dict[str, Variables],
        examples: tuple[Examples, Index],
        key: Key,
        part: int,
    ) -> tuple[Terms, tuple[dict[str, Variables], Metrics]]:
        images, index = examples
        # One dropout mask for all, so that features differ by what they are of.
        rngs = {"dropout": stream(key, "dropout", *([part] if part else []))}
        variables = dict(variables)

        def apply(name: str, network: Any, inputs: Array) -> Any:
            output, variables[name] = apply_training(
                network, params[name], variables[name], inputs, rngs=rngs
            )
            return output

        def judge(images: Examples) -> Judgement:
            judgement: Judgement = apply("discriminator", discriminator, images)
            return judgement._replace(logits=gather_batch(judgement.logits, axis_name))

        posterior = apply("encoder", encoder, images)
        z = draw(posterior, latents(stream(key, "posterior"), index, config.latent))
        prior_z = latents(stream(key, "prior"), index, config.latent)
        reconstructions = apply("generator", generator, z)
        samples = apply("generator", generator, prior_z)
        real, reconstruction, sample = map(judge, (images, reconstructions, samples))

        distance = jnp.sum(jnp.square(real.features - reconstruction.features), axis=-1)
        fakes = [reconstruction.logits, sample.logits]
        parts = Terms(
            prior=jnp.mean(jnp.sum(kl_divergence(posterior), axis=-1)),
            likelihood=0.5 * jnp.mean(distance),
            generator=_mean([loss.generator(real.logits, fake) for fake in fakes]),
            discriminator=_mean([loss.discriminator(real.logits, fake, 0.0) for fake in fakes]),
        )
        metrics: dict[str, Any] = {
            "encoder/kl": parts.prior,
            "encoder/reconstruction": parts.likelihood,
            "discriminator/real_logit": jnp.mean(real.logits),
            "discriminator/reconstruction_logit": jnp.mean(reconstruction.logits),
            "discriminator/fake_logit": jnp.mean(sample.logits),
            "discriminator/accuracy": preference(real.logits, sample.logits),
        }
        return parts, (variables, metrics)

    def step(state: VAEGANState, batch: Batch) -> tuple[VAEGANState, Metrics]:
        players: dict[str, NetState] = {name: getattr(state, name) for name in weights}
        key = stream(state.key, "update", state.step)
        params = {name: player.params for name, player in players.items()}
        variables = {name: player.variables for name, player in players.items()}

        def gradients(examples: tuple[Examples, Index], part: int) -> Any:
            # One run forwards; its derivative is pulled back once a player, by its own weights.
            parts, pull, (changed, metrics) = jax.vjp(
                lambda p: terms(p, variables, examples, key, part), params, has_aux=True
            )
            found, losses = {}, {}
            for name in players:
                own = jax.tree.map(jnp.float32, weights[name])
                found[name] = pull(own)[0][name]
                losses[f"{name}/loss"] = sum(w * part for w, part in zip(own, parts, strict=True))
            return found, changed, {**metrics, **losses}

        images = batch[spec.target]
        examples = (images, example_index(images.shape[0], axis_name))
        grads, changed, metrics = mean_over_parts(gradients, examples, accumulate)
        grads = pmean(grads, axis_name)
        for name, player in players.items():
            players[name] = update_player(player, grads[name], changed[name], optimizers[name])
        norms = {f"{name}/gradient_norm": global_norm(grads[name]) for name in players}
        if config.ema_decay is not None:
            players["generator"] = move_average(players["generator"], config.ema_decay)
        players["generator"] = move_profiles(
            players["generator"], config.ema_profiles, state.step + 1
        )
        fields: dict[str, Any] = {"step": state.step + 1, **players}
        metrics = {**pmean(metrics, axis_name), **norms}
        return dataclasses.replace(state, **fields), metrics

    latent = plain_latent(
        lambda key, index: latents(key, index, config.latent),
        lambda state, z, key, index, given: generator.apply(
            sampling_variables(state.generator), z, False
        ),
    )

    def show(state: VAEGANState, batch: Batch, key: Key) -> dict[str, Examples]:
        images = batch[spec.target][:SHOWN]
        posterior = encoder.apply(sampling_variables(state.encoder), images, False)
        made = generator.apply(sampling_variables(state.generator), posterior.mean, False)
        return {"reconstructions": alternate(images, made)}

    return Algorithm(
        spec=spec._replace(given=()),
        examples=spec.size,
        init=init,
        step=step,
        sample=sample_by(latent),
        show=show,
        signs=adversarial_signs,
        latent=latent,
    )


def make_networks(config: VAEGANConfig, spec: Spec, axis_name: str | None) -> tuple[Any, Any, Any]:
    """Builds an `Encoder`, a `Generator` and a `Discriminator`, without parameters.

    Args:
      config: the model.
      spec: of the data.
      axis_name: mapped axis over the devices, if any.

    Returns:
      The three modules.

    Raises:
      UserError: an unknown architecture, networks with labels, or an image size that can't be made.
    """
    configs = {
        "encoder": config.encoder,
        "generator": config.generator,
        "discriminator": config.discriminator,
    }
    dtype = jnp.dtype(config.dtype)
    e_layers, g_layers, d_layers = (make_layers(c, dtype, axis_name) for c in configs.values())
    return (
        Encoder(
            make_encoder(config.encoder, spec.shape, e_layers, "encoder"), config.latent, e_layers
        ),
        Generator(make_decoder(config.generator, spec.shape, g_layers, "generator")),
        Discriminator(
            make_encoder(config.discriminator, spec.shape, d_layers, "discriminator"), d_layers
        ),
    )


def _mean(games: list[Float[Array, "batch"]]) -> Float[Array, ""]:
    return jnp.mean(jnp.stack(games))
