"""The network of a joint embedding: one of texts and one of images, in one space."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import ContrastiveConfig, NoImages
from genjax.core.captions import CAPTION
from genjax.core.schema import Field, Spec
from genjax.core.types import Images
from genjax.errors import UserError
from genjax.nn.image_towers import make_image_tower
from genjax.nn.layers import Layers
from genjax.nn.text import Encoded, make_text_tower, unit

Texts = Int[Array, "batch length"]
Read = Texts | Float[Array, "batch pooled"]
"""Texts as tokens, or as what a text encoder knows of each."""
Embeddings = Float[Array, "batch size"]


class Joint(nn.Module):
    """A network of texts and one of images, each followed by a linear layer to one space.

    Attributes:
      text: ``(tokens, train) -> Encoded``; None where that of another run has read them.
      image: ``(images, train) -> features``; None of a network of texts alone, whose embedding is
        that of the whole text.
      size: dimensions of the space.
      temperature: that similarities are divided by at first.
      layers: what the linear layers have in common.

    Reference: Radford et al. 2021, figure 3.
    """

    text: Any
    image: Any
    size: int
    temperature: float
    layers: Layers

    def setup(self) -> None:
        """Makes what is neither of the two networks."""
        if self.image is None:
            return
        init = nn.initializers.lecun_normal()
        self.text_projection = self.layers.dense(self.size, init, use_bias=False)
        self.image_projection = self.layers.dense(self.size, init, use_bias=False)
        start = nn.initializers.constant(-math.log(self.temperature))
        self.log_scale = self.param("log_scale", start, ())

    def __call__(
        self, texts: Read, train: bool, images: Images | None = None
    ) -> tuple[Embeddings, Embeddings | None, Float[Array, ""] | None]:
        """Both embeddings, and what their products are multiplied by."""
        texts = self.embed_texts(texts, train)
        if images is None:
            return texts, None, None
        return texts, self.embed_images(images, train), jnp.exp(self.log_scale)

    def encode_text(self, tokens: Texts, train: bool) -> Encoded:
        """What the network of texts knows of each token, and of the whole."""
        encoded: Encoded = self.text(tokens, train)
        return encoded

    def embed_texts(self, texts: Read, train: bool) -> Embeddings:
        """Texts in the space, of length 1; 0 of a text without any token."""
        pooled = texts if self.text is None else self.text(texts, train).pooled
        if self.image is None:
            return unit(pooled)
        return unit(self.text_projection(pooled.astype(self.layers.dtype)))

    def embed_images(self, images: Images, train: bool) -> Embeddings:
        """Images in the space, of length 1."""
        return unit(self.image_projection(self.image(images, train)))


def texts_of(spec: Spec) -> Field:
    """The texts of the data of a joint embedding: captions, or examples that are texts themselves.

    Args:
      spec: of the data.

    Returns:
      Their field, whose last axis is over the tokens.

    Raises:
      UserError: the data have none.
    """
    if CAPTION in spec.given:
        return spec.fields[CAPTION]
    target = spec.fields[spec.target]
    if len(target.shape) == 1 and target.levels:
        return target
    raise UserError(
        f"a joint embedding is of images and their captions, and of {spec.target!r} data have no "
        f"{CAPTION!r}, or data.given leaves it out; give --data.given {CAPTION}, or choose other "
        "data"
    )


def make_joint(config: ContrastiveConfig, spec: Spec, axis_name: str | None = None) -> Joint:
    """Builds the network, without parameters.

    Args:
      config: the model.
      spec: of the data.
      axis_name: mapped axis over the devices, if any.

    Returns:
      A `Joint`.

    Raises:
      UserError: the data have no captions, or do not fit a network.
    """
    field, dtype = texts_of(spec), jnp.dtype(config.dtype)
    text = image = None
    if config.text_encoder is None:
        text = make_text_tower(config.text, field.levels, field.shape[-1], dtype, axis_name)
    if not isinstance(config.image, NoImages):
        if not spec.is_image or CAPTION not in spec.given:
            raise UserError(
                f"a joint embedding is of images and their captions, but examples are "
                f"{spec.target!r} of shape {spec.shape}; choose other data"
            )
        image = make_image_tower(config.image, spec.shape, dtype, axis_name)
    layers = Layers(dtype=dtype, axis_name=axis_name)
    return Joint(text, image, config.size, config.temperature, layers)
