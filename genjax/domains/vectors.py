"""Embeddings: of length 1 where they are stored, of unit variance a number for a model."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from genjax.core.embeddings import EMBEDDING
from genjax.domains.domain import Domain


def scale_embeddings(embeddings: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """``sqrt(d) x``, of which a number has a mean square of 1."""
    return math.sqrt(embeddings.shape[-1]) * embeddings


def unit_embeddings(embeddings: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """``x / |x|``, in float32; 0 where x is 0."""
    x = embeddings.astype(jnp.float32)
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


VECTORS = Domain(
    field=EMBEDDING,
    plural="embeddings",
    axes=1,
    to_model=scale_embeddings,
    to_stored=unit_embeddings,
    model_field=lambda field: field,
    render=lambda samples, facts, layout: [],
    # Nothing that a person could look at.
    pictured=0,
    coarse=lambda samples, facts: np.asarray(samples, np.float64),
    coarse_name="embedding_frechet",
    values="a vector of d numbers and of length 1, times sqrt(d)",
    shown=(),
)
