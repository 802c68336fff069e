"""Penalties that D's loss can have, and one on the weights of either player."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.core.algorithm import pmean
from genjax.core.rng import example_index, example_keys, stream
from genjax.core.types import Embedding, Examples, Index, Key, Logits, Params, PerExample
from genjax.families.gan.augment import translation
from genjax.nn.layers import gather_batch

Critic = Callable[[Examples], Logits]
"""D with its parameters and the batch's conditions filled in; real and generated images at the same
place of the batch share their condition."""

_NORM_EPSILON = 1e-12
# Of a squared distance, as a share of the squares: what rounding may do to equal captions.
_ALIKE = 1e-6


class Origin(NamedTuple):
    """What D's augmentation changes, and D behind it.

    Attributes:
      images: before the augmentation.
      critic: from those to D's logits of what the augmentation makes of them, [batch].
    """

    images: Examples
    critic: Critic


class Scene(NamedTuple):
    """What a penalty may look at.

    Attributes:
      critic: ``images -> [batch]``.
      real: real images, as D sees them.
      fake: generated images, as D sees them.
      real_origin: real images before D's augmentation.
      fake_origin: generated images before D's augmentation.
      real_logits: D's logits of them.
      fake_logits: D's logits of them.
      average_real: running average of the real logits over all updates, scalar.
      average_fake: running average of the generated logits.
      key: of the penalty's own draws.
      place: of each example in the whole batch.
      axis_name: mapped axis over the devices, if any.
      condition: of the examples; None for an unconditional D.
      critic_given: ``(images, condition) -> [batch]``, the critic for other conditions.
      generated: D's loss for an image that counts as generated, by its logit; None where its loss
        compares images.
    """

    critic: Critic
    real: Examples
    fake: Examples
    real_origin: Origin
    fake_origin: Origin
    real_logits: Logits
    fake_logits: Logits
    average_real: Float[Array, ""]
    average_fake: Float[Array, ""]
    key: Key
    place: Index
    axis_name: str | None
    condition: Embedding | None
    critic_given: Callable[[Examples, Embedding], Logits]
    generated: Callable[[Logits], PerExample] | None


class Penalty(NamedTuple):
    """A term of D's loss.

    Attributes:
      compute: ``scene -> [batch]``; the caller averages and weighs.
      differentiates: whether it takes the gradient of each example's logit by that example's
        pixels, which batch norm in D makes meaningless.
      images: whether it is for images alone.
      conditional: whether it is about the condition that D is given.
    """

    compute: Callable[[Scene], PerExample]
    differentiates: bool = False
    images: bool = False
    conditional: bool = False


def gradient_square(critic: Critic, images: Examples) -> PerExample:
    """``|grad_x D(x)|^2`` of each example, float32 [batch]."""
    gradient = jax.grad(lambda x: jnp.sum(critic(x)))(images)
    return jnp.sum(jnp.square(gradient.astype(jnp.float32)), axis=tuple(range(1, gradient.ndim)))


def _distance_from_one(square: PerExample) -> PerExample:
    # The root's own gradient at 0 is infinite, and 0 times it is NaN.
    return jnp.square(jnp.sqrt(square + _NORM_EPSILON) - 1)


def r1(scene: Scene) -> PerExample:
    """``|grad D(T(x))|^2 / 2`` at real images; its weight is gamma (Mescheder et al. 2018, eq. 9).

    T is D's augmentation; the gradient is that by x, as in StyleGAN2-ADA's code and R3GAN's.
    """
    return 0.5 * gradient_square(scene.real_origin.critic, scene.real_origin.images)


def r2(scene: Scene) -> PerExample:
    """`r1` at generated images (Mescheder et al. 2018, equation 10)."""
    return 0.5 * gradient_square(scene.fake_origin.critic, scene.fake_origin.images)


def wgan_gp(scene: Scene) -> PerExample:
    """``(|grad D(x)| - 1)^2`` at points between real and generated images.

    ``x = e x_real + (1 - e) x_fake``, ``e ~ U[0, 1)`` an example.

    Reference: Gulrajani et al. 2017, equation 3; its weight there is 10.
    """
    keys = example_keys(scene.key, scene.place)
    share = jax.vmap(jax.random.uniform)(keys)
    share = share.reshape(-1, *[1] * (scene.real.ndim - 1))
    between = share * scene.real + (1 - share) * scene.fake
    return _distance_from_one(gradient_square(scene.critic, between))


def dragan(scene: Scene) -> PerExample:
    """``(|grad D(x)| - 1)^2`` at noisy real images.

    ``x = x_real + a (std / 2) u`` with ``u ~ U[0, 1)`` a pixel, ``a ~ U[0, 1)`` an example, and std
    of all pixels of the batch.

    Reference: Kodali et al. 2017, equation 2, with the noise of the authors' code.
    """
    moments = (jnp.mean(scene.real), jnp.mean(jnp.square(scene.real)))
    mean, square = pmean(moments, scene.axis_name)
    # Rounding may make the variance of nearly constant images negative.
    std = jnp.sqrt(jnp.maximum(square - jnp.square(mean), 0))

    def noise(key: Key) -> Array:
        u = jax.random.uniform(stream(key, "pixels"), scene.real.shape[1:])
        return jax.random.uniform(stream(key, "share")) * 0.5 * std * u

    noisy = scene.real + jax.vmap(noise)(example_keys(scene.key, scene.place))
    return _distance_from_one(gradient_square(scene.critic, noisy))


def lecam(scene: Scene) -> PerExample:
    """Keeps logits near the running average of the other kind's.

    ``(D(x) - average_fake)^2 + (D(G(z)) - average_real)^2``, as in the paper; its authors' code
    only charges real logits above, and generated ones below.

    Reference: Tseng et al. 2021, section 3.2.
    """
    real = jnp.square(scene.real_logits - scene.average_fake)
    return real + jnp.square(scene.fake_logits - scene.average_real)


def _consistency(scene: Scene, images: Examples, logits: Logits, name: str) -> PerExample:
    keys = example_keys(stream(scene.key, name), scene.place)
    return jnp.square(logits - scene.critic(jax.vmap(translation)(images, keys)))


def cr(scene: Scene) -> PerExample:
    """``(D(x) - D(T(x)))^2`` for real images, where T shifts by up to an eighth of the side.

    The paper's T also mirrors, which would change what digits and letters mean. What a shift
    uncovers is grey here, where other code reflects the image.

    Reference: Zhang et al. 2020 (consistency regularisation), equation 3; its weight there is 10.
    """
    return _consistency(scene, scene.real, scene.real_logits, "real")


def bcr(scene: Scene) -> PerExample:
    """`cr` for real and, beside it, for generated images.

    Reference: Zhao et al. 2021 (improved consistency regularisation), section 2.1.
    """
    fake = _consistency(scene, scene.fake, scene.fake_logits, "fake")
    return cr(scene) + fake


def mismatch(scene: Scene) -> PerExample:
    """``generated(D(x, c'))``: real images with another example's condition count as generated.

    c' is that of the next example of the whole batch, over all devices (of each part with
    `accumulate`). Where it is equal up to rounding, or stands for no caption, which describes any
    image, the example is left out and the mean is over the others.

    The paper's loss is 1 for real images with their captions, 1/2 for generated and 1/2 for
    mismatched ones; here generated ones keep 1, so that weight 0.5 is the paper's share beside the
    real images, and weight 1 its share beside the generated ones.

    Reference: Reed et al. 2016 (GAN-CLS), section 4.2 and algorithm 1.
    """
    own, generated = scene.condition, scene.generated
    assert own is not None
    assert generated is not None
    whole = gather_batch(own, scene.axis_name)
    others = jnp.roll(whole, -1, axis=0)[example_index(len(own), scene.axis_name)]
    apart, size = (jnp.sum(jnp.square(x), axis=1) for x in (own - others, others))
    counts = ((apart > _ALIKE * size) & (size > 0)).astype(jnp.float32)
    share = jnp.maximum(pmean(jnp.mean(counts), scene.axis_name), 1 / len(whole))
    return counts * generated(scene.critic_given(scene.real, others)) / share


PENALTIES: dict[str, Penalty] = {
    "bcr": Penalty(bcr, images=True),
    "cr": Penalty(cr, images=True),
    "dragan": Penalty(dragan, differentiates=True),
    "lecam": Penalty(lecam),
    "mismatch": Penalty(mismatch, conditional=True),
    "r1": Penalty(r1, differentiates=True),
    "r2": Penalty(r2, differentiates=True),
    "wgan_gp": Penalty(wgan_gp, differentiates=True),
}


def penalty_terms(
    weights: Mapping[str, tuple[float, int]],
    scene: Scene,
    number: Int[Array, ""],
    latest: Mapping[str, Float[Array, ""]],
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Sums the penalties of one update of D.

    A penalty of interval n is computed in every n-th update and weighted by n, so that its mean
    over time stays the same (lazy regularisation, Karras et al. 2020, section 3.1).

    Args:
      weights: weight and interval of each penalty, by name.
      scene: what they look at.
      number: int32 scalar, updates of D before this one.
      latest: of each penalty, its mean over the batch where it was last computed.

    Returns:
      The weighted sum, and the new `latest`.
    """
    total, values = jnp.zeros(()), {}
    for name, (weight, interval) in weights.items():
        compute = functools.partial(mean_penalty, name, scene)
        if interval == 1:
            values[name] = compute()
            total += weight * values[name]
            continue
        due = number % interval == 0
        value = jax.lax.cond(due, compute, lambda: jnp.zeros(()))
        total += weight * interval * value
        values[name] = jnp.where(due, value, latest[name])
    return total, jax.lax.stop_gradient(values)


def mean_penalty(name: str, scene: Scene) -> Float[Array, ""]:
    """The mean of a penalty over the batch, without its weight."""
    return jnp.mean(PENALTIES[name].compute(scene._replace(key=stream(scene.key, name))))


def orthogonal(params: Params) -> Float[Array, ""]:
    """How far the columns of all weight matrices are from orthogonal to each other.

    ``sum_W |W^T W * (1 - I)|_F^2``, with one column of W an output; lengths are left free. What
    BigGAN's code adds to the gradients is half the gradient of this: its strength is twice the
    weight here.

    Args:
      params: a network's parameters; leaves called ``kernel`` count.

    Returns:
      float32 scalar.

    Reference: Brock et al. 2019, equation 3.
    """
    total = jnp.zeros(())
    for path, kernel in jax.tree_util.tree_leaves_with_path(params):
        if path[-1].key == "kernel":
            matrix = kernel.reshape(-1, kernel.shape[-1])
            gram = matrix.T @ matrix
            total += jnp.sum(jnp.square(gram)) - jnp.sum(jnp.square(jnp.diagonal(gram)))
    return total
