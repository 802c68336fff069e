"""Adversarial losses, per example and in logits ``s``, where ``D = sigmoid(s)``."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.core.types import Logits, Number, PerExample


class AdversarialLoss(NamedTuple):
    """The two sides of an adversarial game, over the whole batch; the caller averages.

    Attributes:
      discriminator: ``(real, fake, smoothing) -> [batch]``, which D minimises. With probability
        `smoothing` (in [0, 1/2), the loss is its expectation) a real image counts as generated,
        while generated ones never count as real.
      generator: ``(real, fake) -> [batch]``, which G minimises; `real` is None unless `paired`.
      paired: whether the generator's loss also needs the real logits.
      generated: D's loss for an image that counts as generated; None where images are compared.
    """

    discriminator: Callable[[Logits, Logits, float], PerExample]
    generator: Callable[[Logits | None, Logits], PerExample]
    paired: bool
    generated: Callable[[Logits], PerExample] | None = None


def preference(real: Logits, fake: Logits) -> Float[Array, ""]:
    """How often D prefers the real image of a pair: the mean of ``s_real > s_fake``.

    It needs no threshold, so that it means the same for every loss.

    Args:
      real: float32 [batch].
      fake: float32 [batch], of the images beside them.

    Returns:
      float32 scalar in [0, 1].
    """
    return jnp.mean((real > fake).astype(jnp.float32))


def separate(
    real: Callable[[Logits], PerExample],
    fake: Callable[[Logits], PerExample],
    generator: Callable[[Logits], PerExample],
) -> AdversarialLoss:
    """Builds a loss that judges real and generated images each for themselves.

    ``L_D = (1 - a) real(s_real) + a fake(s_real) + fake(s_fake)`` with smoothing a, the one-sided
    label smoothing of Salimans et al. 2016, section 3.4; ``L_G = generator(s_fake)``.

    Args:
      real: D's loss for an image that counts as real.
      fake: D's loss for an image that counts as generated.
      generator: G's loss.

    Returns:
      The loss.
    """

    def discriminator(real_logits: Logits, fake_logits: Logits, smoothing: Number) -> PerExample:
        smoothed = (1 - smoothing) * real(real_logits) + smoothing * fake(real_logits)
        return smoothed + fake(fake_logits)

    return AdversarialLoss(discriminator, lambda _, logits: generator(logits), False, fake)


def minimax() -> AdversarialLoss:
    """The original game.

    ``L_D = -log D(x) - log(1 - D(G(z))) = softplus(-s_real) + softplus(s_fake)``;
    ``L_G = log(1 - D(G(z))) = -softplus(s_fake)``, which saturates while D wins.

    Reference: Goodfellow et al. 2014, equation 1.
    """
    softplus = jax.nn.softplus
    return separate(lambda s: softplus(-s), softplus, lambda s: -softplus(s))


def non_saturating() -> AdversarialLoss:
    """The original game with a generator that maximises log D.

    ``L_D = softplus(-s_real) + softplus(s_fake)``; ``L_G = -log D(G(z)) = softplus(-s_fake)``.

    Reference: Goodfellow et al. 2014, section 3.
    """
    softplus = jax.nn.softplus
    return separate(lambda s: softplus(-s), softplus, lambda s: softplus(-s))


def hinge() -> AdversarialLoss:
    """Margins of one.

    ``L_D = max(0, 1 - s_real) + max(0, 1 + s_fake)``; ``L_G = -s_fake``.

    Reference: Miyato et al. 2018, equations 16 and 17; Lim & Ye 2017.
    """
    return separate(lambda s: jax.nn.relu(1 - s), lambda s: jax.nn.relu(1 + s), lambda s: -s)


def least_squares() -> AdversarialLoss:
    """Squared distances from the targets 1 (real) and 0 (generated).

    ``L_D = ((s_real - 1)^2 + s_fake^2) / 2``; ``L_G = (s_fake - 1)^2 / 2``.

    Reference: Mao et al. 2017, equation 9.
    """

    def half_square(x: Logits) -> PerExample:
        return 0.5 * jnp.square(x)

    return separate(lambda s: half_square(s - 1), half_square, lambda s: half_square(s - 1))


def wasserstein() -> AdversarialLoss:
    """The critic's estimate of the Wasserstein distance; needs a Lipschitz constraint on D.

    ``L_D = s_fake - s_real``; ``L_G = -s_fake``.

    Reference: Arjovsky et al. 2017, algorithm 1.
    """
    return separate(lambda s: -s, lambda s: s, lambda s: -s)


def relativistic() -> AdversarialLoss:
    """Each real image against the generated one at the same place of the batch.

    ``L_D = softplus(-(s_real - s_fake))``; ``L_G = softplus(-(s_fake - s_real))``.

    Reference: Jolicoeur-Martineau 2018, section 4.1; Huang et al. 2024 (R3GAN), equation 2.
    """

    def discriminator(real: Logits, fake: Logits, smoothing: Number) -> PerExample:
        margin = real - fake
        return (1 - smoothing) * jax.nn.softplus(-margin) + smoothing * jax.nn.softplus(margin)

    def generator(real: Logits | None, fake: Logits) -> PerExample:
        assert real is not None
        return jax.nn.softplus(real - fake)

    return AdversarialLoss(discriminator, generator, paired=True)


def relativistic_average() -> AdversarialLoss:
    """Each image against the average of the other kind over the batch.

    ``L_D = softplus(-(s_real - m_fake)) + softplus(s_fake - m_real)``;
    ``L_G = softplus(s_real - m_fake) + softplus(-(s_fake - m_real))``, with means m.

    Reference: Jolicoeur-Martineau 2018, section 4.2.
    """

    def discriminator(real: Logits, fake: Logits, smoothing: Number) -> PerExample:
        real_margin, fake_margin = real - jnp.mean(fake), fake - jnp.mean(real)
        softplus = jax.nn.softplus
        smoothed = (1 - smoothing) * softplus(-real_margin) + smoothing * softplus(real_margin)
        return smoothed + softplus(fake_margin)

    def generator(real: Logits | None, fake: Logits) -> PerExample:
        assert real is not None
        real_margin, fake_margin = real - jnp.mean(fake), fake - jnp.mean(real)
        return jax.nn.softplus(real_margin) + jax.nn.softplus(-fake_margin)

    return AdversarialLoss(discriminator, generator, paired=True)


LOSSES: dict[str, AdversarialLoss] = {
    "hinge": hinge(),
    "least_squares": least_squares(),
    "minimax": minimax(),
    "non_saturating": non_saturating(),
    "relativistic": relativistic(),
    "relativistic_average": relativistic_average(),
    "wasserstein": wasserstein(),
}
