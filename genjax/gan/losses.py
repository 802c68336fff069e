"""Adversarial losses, per example and in logits ``s``, where ``D = sigmoid(s)``."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from genjax.types import Logits, PerExample


class AdversarialLoss(NamedTuple):
    """The two sides of an adversarial game; the caller averages over the batch.

    Attributes:
      discriminator: ``(real, fake) -> [batch]``, which D minimises.
      generator: ``(real, fake) -> [batch]``, which G minimises; `real` is None unless `paired`.
      paired: whether the generator's loss also needs the real logits.
    """

    discriminator: Callable[[Logits, Logits], PerExample]
    generator: Callable[[Logits | None, Logits], PerExample]
    paired: bool


def cross_entropy_discriminator(real: Logits, fake: Logits) -> PerExample:
    """D's loss of the original game.

    ``-log D(x) - log(1 - D(G(z))) = softplus(-s_real) + softplus(s_fake)``

    Args:
      real: float32 [batch], logits of real images.
      fake: float32 [batch], logits of generated images.

    Returns:
      float32 [batch], at least 0.

    Reference: Goodfellow et al. 2014, equation 1.
    """
    return jax.nn.softplus(-real) + jax.nn.softplus(fake)


def minimax_generator(real: Logits | None, fake: Logits) -> PerExample:
    """G's side of the minimax game: ``log(1 - D(G(z))) = -softplus(s_fake)``.

    It saturates while D wins; `non_saturating_generator` is the usual choice.

    Args:
      real: not used.
      fake: float32 [batch], logits of generated images.

    Returns:
      float32 [batch], at most 0.

    Reference: Goodfellow et al. 2014, equation 1.
    """
    return -jax.nn.softplus(fake)


def non_saturating_generator(real: Logits | None, fake: Logits) -> PerExample:
    """G maximises log D instead: ``-log D(G(z)) = softplus(-s_fake)``.

    Args:
      real: not used.
      fake: float32 [batch], logits of generated images.

    Returns:
      float32 [batch], at least 0.

    Reference: Goodfellow et al. 2014, section 3.
    """
    return jax.nn.softplus(-fake)


LOSSES: dict[str, AdversarialLoss] = {
    "minimax": AdversarialLoss(cross_entropy_discriminator, minimax_generator, paired=False),
    "non_saturating": AdversarialLoss(
        cross_entropy_discriminator, non_saturating_generator, paired=False
    ),
}
