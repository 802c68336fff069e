"""Joint embeddings of images and texts, as CLIP's, which make no samples."""

import math
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from genjax.config import LEAST_TEMPERATURE, ContrastiveConfig
from genjax.core.algorithm import Algorithm, pmean
from genjax.core.captions import CAPTION, drawn
from genjax.core.from_loss import Context, NetworkState, from_loss
from genjax.core.frozen import NO_NETWORKS, Networks
from genjax.core.optimizers import make_optimizer
from genjax.core.players import apply_training, sampling_variables
from genjax.core.rng import stream
from genjax.core.schema import Spec
from genjax.core.types import Batch, Key, Metrics, Params, PerExample, Variables
from genjax.domains.image import shift_images
from genjax.errors import UserError
from genjax.families.contrastive.joint import Read, make_joint, texts_of
from genjax.families.contrastive.loss import contrast
from genjax.families.contrastive.reading import encoder_of, read_texts


def make_contrastive(
    config: ContrastiveConfig,
    spec: Spec,
    axis_name: str | None = None,
    accumulate: int = 1,
    networks: Networks = NO_NETWORKS,
) -> Algorithm:
    """Builds a joint embedding of images and captions.

    A step minimises `contrast` of the batch of all devices, each example with one of its captions,
    and each image moved a little where the configuration says so.

    Args:
      config: the model.
      spec: of the data, with captions.
      axis_name: mapped axis over the devices (pmap); None where the program sees the whole batch.
      accumulate: parts of the batch whose gradients are averaged; each is contrasted by itself.
      networks: of other runs: ``text_encoder``, where the configuration names one.

    Returns:
      The algorithm, without samples. Its losses on held-out data are of each example among those of
      its batch, with the first captions.

    Raises:
      UserError: the data have no captions, or do not fit the networks.

    Reference: Radford et al. 2021, section 2.3 and figure 3.
    """
    joint, field = make_joint(config, spec, axis_name), texts_of(spec)
    encoder = encoder_of(config, spec, networks, axis_name)

    def variables(key: Key) -> Variables:
        tokens: Read = jnp.zeros((1, field.shape[-1]), jnp.int32)
        if encoder is not None:
            tokens = jnp.zeros((1, encoder.pooled))
        images = None if joint.image is None else jnp.zeros((1, *spec.shape))
        found: Variables = joint.init(stream(key, "init network"), tokens, False, images)
        return found

    def loss(
        params: Params, batch: Batch, context: Context
    ) -> tuple[Float[Array, ""], tuple[Metrics, Variables]]:
        if (why := config.untrained()) is not None:
            raise UserError(why)
        images = batch[spec.target]
        if config.shift:
            key = stream(context.key, "shift")
            images = shift_images(images, config.shift, key, context.place)
        tokens = drawn(batch[CAPTION], stream(context.key, "caption"), context.place)
        read = read_texts(encoder, context.frozen, tokens)
        (texts, pictures, scale), changed = apply_training(
            joint, params, context.variables, read, images, rngs={"dropout": context.dropout}
        )
        found = contrast(texts, pictures, tokens, scale, axis_name)
        share = jnp.maximum(pmean(jnp.mean(found.counts), axis_name), 1e-12)
        total = jnp.mean(found.losses) / share
        metrics = {
            "network/loss": total,
            "network/accuracy": jnp.mean(found.hits) / share,
            "network/temperature": 1 / scale,
        }
        return total, (metrics, changed)

    def evaluate(state: NetworkState, batch: Batch, key: Key) -> dict[str, PerExample]:
        tokens = batch[CAPTION][:, 0]
        own = sampling_variables(state.network)
        read = read_texts(encoder, getattr(state, "frozen", {}), tokens)
        found: Any = joint.apply(own, read, False, batch[spec.target])
        texts, pictures, scale = found
        told = contrast(texts, pictures, tokens, scale, None)
        return {"evaluation/loss": told.losses, "evaluation/accuracy": told.hits}

    minimiser = from_loss(
        NetworkState,
        "network",
        variables,
        loss,
        optax.chain(
            make_optimizer(config.optimizer, spec.size),
            bounded("log_scale", -math.log(LEAST_TEMPERATURE)),
        ),
        config.ema_decay,
        config.ema_profiles,
        accumulate,
        axis_name,
    )
    return Algorithm(
        spec=spec._replace(given=(CAPTION,) if CAPTION in spec.given else ()),
        examples=spec.size,
        init=minimiser.init,
        step=minimiser.step,
        sample=None,
        evaluate=None if joint.image is None else evaluate,
    )


def bounded(name: str, most: float) -> optax.GradientTransformation:
    """Ends updates of one parameter where it comes to a bound.

    Args:
      name: of the parameter, at the top of its network; there may be none.
      most: the bound.

    Returns:
      The last of a chain of rules.
    """

    def update(
        updates: Params, state: optax.OptState, params: Params | None = None
    ) -> tuple[Params, optax.OptState]:
        assert params is not None
        if name not in updates:
            return updates, state
        step = jnp.minimum(params[name] + updates[name], most) - params[name]
        return {**updates, name: step}, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
