"""Images and texts in the space of a joint embedding, and how much alike they are there."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from genjax.config import ContrastiveConfig, Experiment, NoImages
from genjax.core.compiler import jit
from genjax.core.frozen import NO_NETWORKS, Networks
from genjax.core.players import players, sampling_variables
from genjax.core.schema import Schema
from genjax.core.types import State, Variables
from genjax.domains.captions import encode_prompts
from genjax.domains.image import scale_images
from genjax.errors import UserError
from genjax.families.contrastive.joint import make_joint, texts_of
from genjax.families.contrastive.reading import encoder_of, read_texts
from genjax.families.registry import make_spec

_CHUNK = 100
_Networks = tuple[Variables, Mapping[str, Any]]
"""Variables of the run's own network, and of others, by field and player."""
_LEAST = 8
"""Tokens of a batch of texts; more of them are a power of 2, so that few programs are compiled."""


class Embedding:
    """What a run of the family `contrastive` says of images and texts.

    Attributes:
      name: of the run.
      images: whether it embeds images, too.
      shape: of the images that it has learnt from.
    """

    def __init__(
        self,
        experiment: Experiment,
        schema: Schema,
        state: State | None,
        networks: Networks = NO_NETWORKS,
    ) -> None:
        """Prepares the networks; nothing is computed yet.

        Args:
          experiment: of the run, as `genjax.run.opening.open_run` finds it.
          schema: likewise.
          state: likewise; None where nothing will be embedded.
          networks: of other runs that it uses, as its algorithm has them.

        Raises:
          UserError: the run is of another family.
        """
        config = experiment.model
        if not isinstance(config, ContrastiveConfig):
            raise UserError(
                f"{experiment.name!r} is of family {config.family}, which embeds no images and "
                "texts; name a run of family contrastive"
            )
        spec = make_spec(experiment, schema)
        joint: Any = make_joint(config, spec)
        encoder = encoder_of(config, spec, networks)
        self.name = experiment.name
        self.images = not isinstance(config.image, NoImages)
        self.shape = spec.shape
        self._facts, self._field = spec.facts, texts_of(spec)
        self._variables: _Networks = {}, {}
        if state is not None:
            own = sampling_variables(players(state)["network"])
            self._variables = own, getattr(state, "frozen", {})

        def texts(variables: _Networks, tokens: Array) -> Array:
            own, frozen = variables
            read = read_texts(encoder, frozen, tokens)
            found: Array = joint.apply(own, read, False, method="embed_texts")
            return found

        def images(variables: _Networks, images: Array) -> Array:
            own, _ = variables
            found: Array = joint.apply(own, scale_images(images), False, method="embed_images")
            return found

        self._of_texts, self._of_images = jit(texts), jit(images)

    def embed_images(
        self, images: UInt8[np.ndarray, "n height width channels"]
    ) -> Float[np.ndarray, "n size"]:
        """Brings images into the space.

        Args:
          images: uint8 [n, height, width, channels], of the shape that the run has learnt from.

        Returns:
          float32 [n, size], of length 1.

        Raises:
          UserError: the run has no network of images, or images are of another shape.
        """
        if not self.images:
            raise UserError(f"{self.name!r} is a network of texts alone; name another run")
        if images.shape[1:] != self.shape:
            raise UserError(
                f"{self.name!r} embeds images of {'x'.join(map(str, self.shape))}, but these are "
                f"{'x'.join(map(str, images.shape[1:]))}"
            )
        return self._in_chunks(self._of_images, np.asarray(images), 0)

    def embed_tokens(self, tokens: Int[np.ndarray, "n length"]) -> Float[np.ndarray, "n size"]:
        """Brings texts into the space.

        Args:
          tokens: of the run's tokenizer, int32 [n, L]; -1 behind each text.

        Returns:
          float32 [n, size], of length 1; 0 of a text without any token.
        """
        longest = int((tokens >= 0).sum(axis=1).max(initial=0))
        length = min(max(_LEAST, 1 << max(longest - 1, 0).bit_length()), self._field.shape[-1])
        cut = np.full((len(tokens), max(length, longest)), -1, np.int32)
        width = min(cut.shape[1], tokens.shape[1])
        cut[:, :width] = tokens[:, :width]
        return self._in_chunks(self._of_texts, cut, -1)

    def embed_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "n size"]:
        """Brings texts into the space, cut to as many tokens as the run takes.

        Args:
          texts: any.

        Returns:
          float32 [n, size], of length 1; 0 of an empty text.

        Raises:
          UserError: a text has a character that the tokenizer doesn't know.
        """
        tokens, _ = encode_prompts(self._facts, self._field, texts)
        return self.embed_tokens(tokens[:, 0])

    def _in_chunks(
        self, function: Callable[[_Networks, Array], Array], rows: np.ndarray, filling: int
    ) -> Float[np.ndarray, "n size"]:
        parts = []
        for start in range(0, max(len(rows), 1), _CHUNK):
            # All chunks have one size, so that there is one program.
            some = rows[start : start + _CHUNK]
            missing = [(0, _CHUNK - len(some)), *[(0, 0)] * (rows.ndim - 1)]
            some = np.pad(some, missing, constant_values=filling)
            parts.append(np.asarray(function(self._variables, jnp.asarray(some))))
        return np.concatenate(parts)[: len(rows)]


def clip_score(
    images: Float[np.ndarray, "n size"], texts: Float[np.ndarray, "n size"]
) -> Float[np.ndarray, "n"]:
    """The cosine of each image's and its caption's embedding.

    Args:
      images: from `Embedding.embed_images`, [n, size].
      texts: from `Embedding.embed_texts`, likewise.

    Returns:
      float64 [n], in [-1, 1]; its mean is the CLIP score, which Hessel et al. 2021 bound by 0 and
      multiply by 2.5.

    Reference: Hessel et al. 2021, section 3.

    Example:
      >>> clip_score(np.eye(2, dtype=np.float32), np.float32([[1, 0], [1, 0]])).tolist()
      [1.0, 0.0]
    """
    return np.sum(np.float64(images) * np.float64(texts), axis=1)
