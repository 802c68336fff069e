"""Techniques beside the game itself, each switched on by a field of the configuration."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import GANConfig
from genjax.core.optimizers import scheduled
from genjax.core.types import Number, Params
from genjax.families.gan.penalties import orthogonal


def top_k_weights(
    logits: Float[Array, "whole"], share: float, decay: float, step: Int[Array, ""]
) -> Float[Array, "whole"]:
    """Weights that average over the k examples most realistic to D.

    ``k = max(decay^step, share) * batch``, rounded down, and at least 1.

    Args:
      logits: float32, of the whole generated batch.
      share: in (0, 1], that k falls to; 1 averages over all.
      decay: in (0, 1], factor of one step.
      step: int32 scalar, steps made.

    Returns:
      float32, 1 / k for the k largest logits and 0 for the others.

    Reference: Sinha et al. 2020, section 3.
    """
    size = logits.shape[0]
    if share == 1:
        return jnp.full((size,), 1 / size)
    now = jnp.maximum(decay**step, share)
    # Rounded down, but not because of rounding errors in the product.
    count = jnp.maximum(jnp.floor(now * size + 1e-4), 1)
    rank = jnp.argsort(jnp.argsort(-logits))
    return jax.lax.stop_gradient(jnp.where(rank < count, 1 / count, 0))


def augment_strength(
    config: GANConfig, aux: Mapping[str, Any], step: Int[Array, ""], batch_size: int
) -> Number:
    """The strength p of the augmentation in a step; see `adapt_augment`."""
    if config.ada_target is not None:
        p: Number = aux["augment_p"]
        return p
    images = config.discriminator_updates * batch_size
    return scheduled(config.ada_p, config.ada_schedule, step, images)


def adapt_augment(
    config: GANConfig, aux: Mapping[str, Any], step: Int[Array, ""], batch_size: int
) -> Mapping[str, Any]:
    """Changes the strength of the augmentation after every `ada_interval`-th step.

    ``p <- max(p + sign(r - target) images / speed, 0)``, with r the mean sign of D's logits of the
    real images that it has seen since the last change, and how many these are. As in the authors'
    code p may pass 1, beyond which only operations with a share below 1 become more frequent.

    Args:
      config: of the GAN.
      aux: of the state, after D's updates.
      step: int32 scalar, steps made before this one.
      batch_size: real images in one update of D.

    Returns:
      Those entries of `aux` that it moves.

    Reference: Karras et al. 2020 (ADA), section 3.
    """
    p, total = aux["augment_p"], aux["augment_sign"]
    updates = config.ada_interval * config.discriminator_updates
    change = jnp.sign(total / updates - config.ada_target) * (updates * batch_size)
    due = (step + 1) % config.ada_interval == 0
    return {
        "augment_p": jnp.where(due, jnp.maximum(p + change / config.ada_speed, 0), p),
        "augment_sign": jnp.where(due, 0, total),
    }


def clip_weights(params: Params, bound: float) -> Params:
    """Clips every parameter to [-bound, bound] (Arjovsky et al. 2017, algorithm 1)."""
    clipped: Params = jax.tree.map(lambda p: jnp.clip(p, -bound, bound), params)
    return clipped


def weight_terms(
    params: Params, orthogonal_weight: float, historical_weight: float, history: Params | None
) -> Float[Array, ""]:
    """Terms of a player's loss that only see its parameters.

    Args:
      params: of the player.
      orthogonal_weight: of `genjax.families.gan.penalties.orthogonal`.
      historical_weight: of ``|theta - mean over time of theta|^2``.
      history: that mean; None leaves the term out.

    Returns:
      float32 scalar.

    Reference: Salimans et al. 2016, section 3.3 (historical averaging).
    """
    total = jnp.zeros(())
    if orthogonal_weight:
        total += orthogonal_weight * orthogonal(params)
    if history is not None:
        squares = jax.tree.map(lambda p, mean: jnp.sum(jnp.square(p - mean)), params, history)
        total += historical_weight * sum(jax.tree.leaves(squares))
    return total


def move_history(
    history: Mapping[str, Any], current: Mapping[str, Params], step: Int[Array, ""]
) -> Mapping[str, Any]:
    """Takes parameters into their mean over time.

    Args:
      history: means of the start and of the `step` steps before, by player.
      current: parameters after this step, by player.
      step: int32 scalar, steps made before this one.

    Returns:
      The new means.
    """
    share = 1 / (step + 2.0)
    moved: Mapping[str, Any] = jax.tree.map(
        lambda mean, p: mean + share * (p - mean), dict(history), dict(current)
    )
    return moved
