"""Distributions of an image given z, for what a decoder says of each pixel and channel."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.core.rng import example_keys
from genjax.core.types import Examples, Index, Key, PerExample
from genjax.domains.image import LEVEL

LogScale = Float[Array, "channels"]


class Likelihood(NamedTuple):
    """``p(x|z)`` with independent pixels; the decoder gives one number a pixel and channel.

    Attributes:
      log_prob: ``(images, output, log_scale) -> [batch]``, float32 in nats, summed over pixels and
        channels. Images are in [-1, 1], `output` has their shape and any range, `log_scale` is
        float32 [channels].
      mean: ``output -> images``, what the distribution is centred on, in [-1, 1].
      scaled: whether it has a scale.
      binary: whether its pixels are black or white.
      level: width of the interval that stands for one level of a byte, where `log_prob` is a
        density; 1 where it is a probability.
      images: whether it is for the bytes of images alone.
    """

    log_prob: Callable[[Examples, Examples, LogScale], PerExample]
    mean: Callable[[Examples], Examples]
    scaled: bool
    binary: bool
    level: float
    images: bool = False


def _total(log_prob: Examples) -> PerExample:
    return jnp.sum(log_prob, axis=tuple(range(1, log_prob.ndim)))


def bernoulli() -> Likelihood:
    """Black or white pixels, of logits l.

    ``log p = t log sigmoid(l) + (1 - t) log(1 - sigmoid(l))`` with ``t = (x + 1) / 2``. It is a
    likelihood only of pixels that are -1 or 1. For grey values it is the cross-entropy to a pixel
    that is white with probability t, and no likelihood of theirs.

    Reference: Kingma & Welling 2014, appendix C.1.
    """

    def log_prob(images: Examples, output: Examples, log_scale: LogScale) -> PerExample:
        target = (images + 1) / 2
        # t l - softplus(l), in an order in which what is left of a large, right l does not vanish.
        linear = target * output - jnp.maximum(output, 0)
        return _total(linear - jnp.log1p(jnp.exp(-jnp.abs(output))))

    # 2 sigmoid(l) - 1
    return Likelihood(log_prob, lambda output: jnp.tanh(output / 2), False, True, 1.0, images=True)


def gaussian() -> Likelihood:
    """Real values around the output m, with one standard deviation s a channel.

    ``log p = -((x - m) / s)^2 / 2 - log s - log(2 pi) / 2``: a density over [-1, 1], which is
    above 0 nats where s is small. Times 1 / 127.5, the distance of two levels of a byte, it is
    about a level's probability; bits per dimension are counted so.

    Reference: Kingma & Welling 2014, appendix C.2.
    """

    def log_prob(images: Examples, output: Examples, log_scale: LogScale) -> PerExample:
        distance = (images - output) * jnp.exp(-log_scale)
        constant = 0.5 * math.log(2 * math.pi)
        return _total(-0.5 * jnp.square(distance) - log_scale - constant)

    return Likelihood(log_prob, _clip, True, False, LEVEL)


def discretized_logistic() -> Likelihood:
    """The 256 levels of a byte, of probabilities cut out of a logistic distribution.

    With ``a = (x + d - m) / s`` and ``b = (x - d - m) / s``, where d = 1 / 255 is half the distance
    of two levels, ``P(x) = sigmoid(a) - sigmoid(b)``; at the darkest level ``sigmoid(a)``, and at
    the brightest ``1 - sigmoid(b)``. The 256 probabilities sum to 1, so this is a likelihood of
    8-bit images, and its bits per dimension compare with those of any other.

    Reference: Salimans et al. 2017, section 2.1, with one component.
    """
    half = LEVEL / 2

    def log_prob(images: Examples, output: Examples, log_scale: LogScale) -> PerExample:
        inverse = jnp.exp(-log_scale)
        above = (images + half - output) * inverse
        below = (images - half - output) * inverse
        # sigmoid(a) - sigmoid(b) = sigmoid(a) (1 - sigmoid(b)) (1 - exp(b - a)) without cancelling.
        log_width = jnp.log(-jnp.expm1(-2 * half * inverse))
        darkest, brightest = images < -1 + half, images > 1 - half
        return _total(
            jnp.where(brightest, 0, jax.nn.log_sigmoid(above))
            + jnp.where(darkest, 0, jax.nn.log_sigmoid(-below))
            + jnp.where(darkest | brightest, 0, log_width)
        )

    return Likelihood(log_prob, _clip, True, False, 1.0, images=True)


def _clip(output: Examples) -> Examples:
    return jnp.clip(output, -1, 1)


LIKELIHOODS: dict[str, Likelihood] = {
    "bernoulli": bernoulli(),
    "discretized_logistic": discretized_logistic(),
    "gaussian": gaussian(),
}


def binarize(images: Examples, key: Key, index: Index) -> Examples:
    """Draws black-and-white pixels, each white with its grey value as probability.

    Args:
      images: float32 [batch, height, width, channels] in [-1, 1].
      key: key of the draw.
      index: int32 [batch], positions in the whole batch.

    Returns:
      Images of -1 and 1.

    Reference: Burda et al. 2016, section 5 (drawn anew each time an image is seen).
    """
    white = jax.vmap(jax.random.bernoulli)(example_keys(key, index), (images + 1) / 2)
    return 2.0 * white - 1.0
