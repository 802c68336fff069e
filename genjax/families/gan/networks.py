"""Generator and discriminator: an architecture's decoder or encoder, with labels brought in."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.core.types import Embedding, Examples, Logits
from genjax.nn.layers import (
    Dense,
    Layers,
    MinibatchDiscrimination,
    MinibatchStddev,
    leaky_relu,
)

GENERATOR_CONDITIONING = ("none", "concat", "cbn", "embed", "mapping")


def _embedding_init(gain: float) -> Any:
    """Of a matrix from labels: ``N(0, gain^2 / classes)``."""
    return nn.initializers.variance_scaling(gain**2, "fan_in", "normal")


def _reduced(
    condition: Embedding, width: int | None, layers: Layers
) -> Float[Array, "batch units"]:
    """A condition after a layer of its own, within a compact call; as it is without a width.

    Reference: Reed et al. 2016, section 4.1.
    """
    if width is None:
        return condition
    dense = layers.dense(width, _embedding_init(1.0), name="reduction")
    return leaky_relu(dense(condition), 0.2)


class Generator(nn.Module):
    """A decoder with a tanh, or, where it has none (`has_tanh`), with samples clipped to [-1, 1].

    ``concat`` appends the condition to z, so that the first layer's rows embed the labels (Mirza &
    Osindero 2014, section 3.2). ``embed`` appends ``E c``, as long as z (R3GAN's code). ``cbn``
    makes the gains and biases of all norms depend on it, ``mapping`` the styles of a generator that
    has some.

    Virtual batch norm's reference batch is what the module is initialised with, and is kept in the
    collection ``reference``.

    Attributes:
      decoder: from vectors to images.
      conditioning: one of `GENERATOR_CONDITIONING`.
      virtual: whether the decoder's norm is virtual batch norm.
      layers: what its layers have in common.
      width: of the layer that the condition passes first; None for none.
    """

    decoder: Any
    conditioning: str = "none"
    virtual: bool = False
    layers: Layers = Layers()
    width: int | None = None

    def __call__(
        self, z: Float[Array, "batch latent"], train: bool, condition: Embedding | None = None
    ) -> Examples:
        z, inner, first = self._begin(z, condition)
        return self._finish(self.decoder(z, train, inner), train)[first:]

    def map(
        self, z: Float[Array, "batch latent"], train: bool, condition: Embedding | None = None
    ) -> Float[Array, "batch style"]:
        """From z to w, of a decoder of styles."""
        z, inner, _ = self._begin(z, condition)
        w: Array = self.decoder.map(z, train, inner)
        return w

    @nn.compact
    def _begin(
        self, z: Float[Array, "batch latent"], condition: Embedding | None
    ) -> tuple[
        Float[Array, "batch_and_reference inputs"],
        Float[Array, "batch_and_reference units"] | None,
        int,
    ]:
        """What the decoder is given, and how many of the reference batch come first."""
        first = 0
        if self.virtual:
            fixed_z: Array = self.variable("reference", "z", lambda: z).value
            first = fixed_z.shape[0]
            z = jnp.concatenate([fixed_z, z])
            if condition is not None:
                given = condition
                fixed: Array = self.variable("reference", "condition", lambda: given).value
                condition = jnp.concatenate([fixed, given])
        if condition is not None:
            condition = _reduced(condition, self.width, self.layers)
        if self.conditioning == "concat":
            assert condition is not None
            z = jnp.concatenate([z, condition.astype(z.dtype)], -1)
        if self.conditioning == "embed":
            assert condition is not None
            dtype, spectral_norm = self.layers.dtype, self.layers.spectral_norm
            init = _embedding_init(1.0)
            embed = Dense(z.shape[-1], False, dtype, init, spectral_norm, name="embedding")
            z = jnp.concatenate([z, embed(condition).astype(z.dtype)], -1)
        return z, condition if self.conditioning in ("cbn", "mapping") else None, first

    def synthesize(
        self, styles: Float[Array, "batch layers style"], train: bool, keys: Any = None
    ) -> Examples:
        """From the styles of all layers to examples; keys [batch] are of the noise."""
        return self._finish(self.decoder.synthesize(styles, keys), train)

    def _finish(self, images: Examples, train: bool) -> Examples:
        if getattr(self.decoder, "has_tanh", True):
            images = jnp.tanh(images)
        elif not train:
            images = jnp.clip(images, -1, 1)
        return images.astype(jnp.float32)


class Judgement(NamedTuple):
    """What D says of a batch.

    Attributes:
      logits: float32 [batch].
      features: float32 [batch, features], from which it says so.
      auxiliary: further outputs by name, float32 [batch, ...].
    """

    logits: Logits
    features: Float[Array, "batch features"]
    auxiliary: Mapping[str, Array]


MINIBATCH: dict[str, Callable[[str | None], nn.Module] | None] = {
    "discrimination": lambda axis_name: MinibatchDiscrimination(axis_name=axis_name),
    "none": None,
    "stddev": lambda axis_name: MinibatchStddev(axis_name=axis_name),
}
"""What lets D see the rest of its batch, between the encoder and the logit."""


_GIVEN = ("concat", "projection", "embed", "mapping")
"""Where a condition comes into D."""


class Discriminator(nn.Module):
    """An encoder with a logit, and perhaps further outputs.

    ``concat`` appends a map made from the condition to the image, as one more channel.
    ``projection`` adds ``<V c, features>`` to the logit. With ``embed``, the logit is
    ``<V c, W features>`` alone, both as long as the features (R3GAN's code), and with ``mapping``
    it is ``<M(c), W features> / sqrt(size)`` with M of StyleGAN2's encoder.

    Attributes:
      encoder: from images to features; its `head_init` starts the outputs.
      layers: what its layers have in common.
      conditioning: ``concat``, ``projection``, ``embed``, ``mapping``, or any other name for none
        of them.
      minibatch: an entry of `MINIBATCH`, made, or None.
      auxiliary: sizes of further outputs by name.
      width: of the layer that the condition passes first; None for none.

    Reference: Miyato & Koyama 2018, equation 4 (projection).
    """

    encoder: Any
    layers: Layers
    conditioning: str = "none"
    minibatch: nn.Module | None = None
    auxiliary: tuple[tuple[str, int], ...] = ()
    width: int | None = None

    @nn.compact
    def __call__(
        self, images: Examples, train: bool, condition: Embedding | None = None
    ) -> Judgement:
        init = self.encoder.head_init

        make_head = getattr(self.encoder, "make_head", None)

        def head(size: int, name: str, use_bias: bool = True, init: Any = init) -> nn.Module:
            if make_head is not None:
                made: nn.Module = make_head(size, use_bias, name)
                return made
            layers = self.layers
            return Dense(size, use_bias, layers.dtype, init, layers.spectral_norm, name=name)

        if condition is not None and self.conditioning in _GIVEN:
            condition = _reduced(condition, self.width, self.layers)
        if self.conditioning == "concat":
            assert condition is not None
            places = images.shape[1:-1]
            label_map = head(math.prod(places), "label_map", use_bias=False)(condition)
            label_map = label_map.reshape(-1, *places, 1)
            images = jnp.concatenate([images, label_map.astype(images.dtype)], -1)
        seen = self.encoder(images, train)
        features = seen.reshape(seen.shape[0], -1)
        size = features.shape[-1]
        if self.conditioning in ("projection", "embed"):
            seen = features
        judged = seen if self.minibatch is None else self.minibatch(features)
        if self.conditioning == "embed":
            assert condition is not None
            small = _embedding_init(size**-0.5)
            embedded = head(size, "embedding", use_bias=False, init=small)(condition)
            judged = head(size, "logit", use_bias=False)(judged)
            logits = jnp.sum((embedded * judged).astype(jnp.float32), -1)
        elif self.conditioning == "mapping":
            mapping = self.encoder.make_mapping(self.encoder.config, size, "mapping")
            products = head(size, "logit")(judged) * mapping(None, condition)
            logits = jnp.sum(products.astype(jnp.float32), -1) / math.sqrt(size)
        else:
            logits = head(1, "logit")(judged)[:, 0].astype(jnp.float32)
        if self.conditioning == "projection":
            assert condition is not None
            embedded = head(size, "embedding", use_bias=False)(condition)
            logits += jnp.sum((embedded * features).astype(jnp.float32), -1)
        auxiliary = {
            name: head(size, name)(seen).astype(jnp.float32) for name, size in self.auxiliary
        }
        return Judgement(logits, features.astype(jnp.float32), auxiliary)
