"""How well the images and the captions of a batch are told apart: InfoNCE, symmetric."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.core.rng import example_index
from genjax.core.types import PerExample
from genjax.families.contrastive.joint import Embeddings, Texts
from genjax.nn.layers import gather_batch


class Contrast(NamedTuple):
    """How well images and captions are told apart.

    Attributes:
      losses: of each pair, in nats, float32 [batch]; 0 without a caption.
      hits: 1 where of all captions an image's own is the most like it, 0 elsewhere and in doubt.
      counts: 1 for a pair, 0 for an image without a caption.
    """

    losses: PerExample
    hits: PerExample
    counts: PerExample


def contrast(
    texts: Embeddings,
    images: Embeddings,
    tokens: Texts,
    scale: Float[Array, ""],
    axis_name: str | None,
) -> Contrast:
    """The symmetric InfoNCE loss of each pair among those of the whole batch.

    With similarities ``s_ij = scale x_i . t_j`` of image i and text j, it is ``-(log p_i(i) +
    log q_i(i)) / 2``, where ``p_i(j) = exp(s_ij) / sum_k exp(s_ik)`` and ``q_i(j) = exp(s_ji) /
    sum_k exp(s_ki)``. The sums leave out other examples with an equal caption, which are right
    answers, too, and those without one. With soft targets in their place, the least loss would
    depend on how many equal captions there are in a batch.

    Args:
      texts: of length 1, float32 [batch, size].
      images: likewise.
      tokens: the captions, int32 [batch, L]; all -1 for none.
      scale: of the similarities.
      axis_name: mapped axis over the devices, of which each has some of the batch.

    Returns:
      Of the examples of this device.

    Reference: Radford et al. 2021, figure 3; van den Oord et al. 2018, equation 4.
    """
    others = gather_batch(tokens, axis_name)
    place = example_index(len(tokens), axis_name)
    own = place[:, None] == jnp.arange(len(others))
    there = (tokens >= 0).any(axis=1).astype(jnp.float32)
    equal = (tokens[:, None] == others[None]).all(axis=-1)
    seen = own | (~equal & (others >= 0).any(axis=1))

    def nats(these: Embeddings, those: Embeddings) -> tuple[PerExample, PerExample]:
        products = jnp.matmul(
            these, gather_batch(those, axis_name).T, preferred_element_type=jnp.float32
        )
        scores = jnp.where(seen, scale * products, -jnp.inf)
        right = jnp.sum(jnp.where(own, scale * products, 0), axis=1)
        best = jnp.max(jnp.where(own, -jnp.inf, scores), axis=1)
        return jax.nn.logsumexp(scores, axis=1) - right, right > best

    of_images, hits = nats(images, texts)
    of_texts, _ = nats(texts, images)
    return Contrast(there * (of_images + of_texts) / 2, there * hits, there)
