"""Encoder and decoder of an autoencoder: an architecture's networks with what lies around them."""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.core.types import Embedding, Examples
from genjax.errors import UserError
from genjax.families.vae.likelihoods import LogScale
from genjax.nn.layers import Dense, Layers


class Posterior(NamedTuple):
    """``q(z|x) = N(mean, diag(exp(log_variance)))``, a Gaussian an example.

    Attributes:
      mean: float32 [batch, latent].
      log_variance: float32 [batch, latent].
    """

    mean: Float[Array, "batch latent"]
    log_variance: Float[Array, "batch latent"]


def draw(posterior: Posterior, noise: Float[Array, "batch latent"]) -> Float[Array, "batch latent"]:
    """``z = mu + sigma * noise`` (Kingma & Welling 2014, section 2.4)."""
    return posterior.mean + jnp.exp(0.5 * posterior.log_variance) * noise


def kl_divergence(posterior: Posterior) -> Float[Array, "batch latent"]:
    """Divergence of each dimension from N(0, 1), in nats.

    ``KL = (mu^2 + sigma^2 - 1 - log sigma^2) / 2``

    Args:
      posterior: of [batch, latent].

    Returns:
      float32 [batch, latent], at least 0.

    Reference: Kingma & Welling 2014, appendix B.
    """
    log_variance = posterior.log_variance
    return 0.5 * (jnp.square(posterior.mean) + jnp.expm1(log_variance) - log_variance)


def log_density(z: Float[Array, "batch latent"], posterior: Posterior) -> Float[Array, "batch"]:
    """``log N(z; mu, diag(sigma^2))`` of each example, in nats, float32 [batch]."""
    mean, log_variance = posterior
    square = jnp.square(z - mean) * jnp.exp(-log_variance)
    return -0.5 * jnp.sum(square + log_variance + math.log(2 * math.pi), axis=-1)


class Encoder(nn.Module):
    """From images to `Posterior`: an architecture's encoder and, but for one whose latents are
    maps, an affine layer.

    The condition comes in as a map made from it, one more channel of the image.

    Attributes:
      network: from images to features; its `head_init` starts the layers around it.
      latent: dimensions of z.
      layers: what its layers have in common.
    """

    network: Any
    latent: int
    layers: Layers

    @nn.compact
    def __call__(
        self, images: Examples, train: bool, condition: Embedding | None = None
    ) -> Posterior:
        def dense(size: int, name: str, use_bias: bool = True) -> Dense:
            layers, init = self.layers, self.network.head_init
            return Dense(size, use_bias, layers.dtype, init, layers.spectral_norm, name=name)

        if condition is not None:
            places = images.shape[1:-1]
            label_map = dense(math.prod(places), "label_map", use_bias=False)(condition)
            label_map = label_map.reshape(-1, *places, 1).astype(images.dtype)
            images = jnp.concatenate([images, label_map], -1)
        moments = self.network(images, train)
        if not getattr(self.network, "makes_moments", False):
            moments = dense(2 * self.latent, "moments")(moments)
        elif moments.shape[1] != 2 * self.latent:
            raise UserError(
                f"the encoder makes latents of {moments.shape[1] // 2} numbers; set --model.latent "
                f"{moments.shape[1] // 2}"
            )
        return Posterior(*jnp.split(moments.astype(jnp.float32), 2, axis=-1))


class Decoder(nn.Module):
    """From z to what a likelihood needs: an architecture's decoder and a scale a channel.

    The condition is appended to z.

    Attributes:
      network: from vectors to maps of the images' shape.
      scaled: whether the likelihood has a scale.
      scale: its fixed value; None learns its logarithm, from 0 on.
    """

    network: Any
    scaled: bool = False
    scale: float | None = None

    @nn.compact
    def __call__(
        self, z: Float[Array, "batch latent"], train: bool, condition: Embedding | None = None
    ) -> tuple[Examples, LogScale]:
        if condition is not None:
            z = jnp.concatenate([z, condition], -1)
        output = self.network(z, train).astype(jnp.float32)
        shape = (output.shape[-1],)
        if self.scaled and self.scale is None:
            return output, self.param("log_scale", nn.initializers.zeros, shape)
        return output, jnp.full(shape, math.log(self.scale or 1.0))


class Autoencoder(nn.Module):
    """Both halves, so that they train as one network.

    Attributes:
      encoder: an `Encoder`.
      decoder: a `Decoder`.
    """

    encoder: Encoder
    decoder: Decoder

    def __call__(
        self,
        images: Examples,
        train: bool,
        noise: Float[Array, "batch latent"],
        condition: Embedding | None = None,
    ) -> tuple[Posterior, Examples, LogScale]:
        posterior = self.encoder(images, train, condition)
        return posterior, *self.decoder(draw(posterior, noise), train, condition)

    def encode(self, images: Examples, condition: Embedding | None = None) -> Posterior:
        """The posterior of each image, as after training."""
        return self.encoder(images, False, condition)

    def decode(
        self, z: Float[Array, "batch latent"], condition: Embedding | None = None
    ) -> tuple[Examples, LogScale]:
        """What the decoder says of z, as after training."""
        return self.decoder(z, False, condition)
