"""A network of texts as another run would have learnt it, but at random."""

import jax
import jax.numpy as jnp

from genjax.config import ContrastiveConfig, NoImages, TextTransformer
from genjax.core.frozen import Frozen
from genjax.families.contrastive.joint import make_joint, texts_of

READER = ContrastiveConfig(text=TextTransformer(width=8, depth=1, heads=2), image=NoImages())


def random_reader(spec):
    """Of the captions of some data, as the field ``text_encoder`` names it."""
    tokens = jnp.zeros((1, texts_of(spec).shape[-1]), jnp.int32)
    variables = jax.jit(make_joint(READER, spec).init, static_argnums=2)(
        jax.random.key(5), tokens, False
    )
    return {"text_encoder": Frozen(READER, spec, {"network": jax.device_get(variables)})}
