"""What a GAN is conditioned on, and what its discriminator must tell of it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.config import GANConfig
from genjax.core.rng import example_keys, stream
from genjax.core.schema import NO_LABELS, Field, Spec
from genjax.core.types import Embedding, Index, Key, Labels, PerExample
from genjax.errors import UserError, lookup
from genjax.families.gan.networks import GENERATOR_CONDITIONING

Auxiliary = Mapping[str, Float[Array, "batch size"]]


class Recognition(NamedTuple):
    """A task that D has beside telling real from generated.

    Attributes:
      sizes: ``(config, classes) -> sizes`` of D's further outputs by name.
      loss: ``(config, outputs, condition) -> [batch]``, minimised by D and G on generated images.
      on_real: whether D minimises it on real images too, whose condition is then known.
    """

    sizes: Callable[[GANConfig, int], tuple[tuple[str, int], ...]]
    loss: Callable[[GANConfig, Auxiliary, Embedding], PerExample]
    on_real: bool


def cross_entropy(
    logits: Float[Array, "batch classes"], target: Float[Array, "batch classes"]
) -> PerExample:
    """``-sum_k target_k log softmax(logits)_k``, float32 [batch]."""
    return -jnp.sum(target * jax.nn.log_softmax(logits), axis=-1)


def class_loss(config: GANConfig, outputs: Auxiliary, condition: Embedding) -> PerExample:
    """``-log P(C = c | x)``, of an auxiliary classifier (Odena et al. 2017, equation 3)."""
    return cross_entropy(outputs["class"], condition)


def code_loss(config: GANConfig, outputs: Auxiliary, condition: Embedding) -> PerExample:
    """``-log Q(c | x)``, whose expectation is H(c) minus the bound on the mutual information.

    The categorical code has a softmax; each continuous one a Gaussian of unit variance, as in the
    authors' code: ``(c - m)^2 / 2 + log(2 pi) / 2``.

    Args:
      config: sizes of the codes.
      outputs: ``category`` [batch, categories] and ``code`` [batch, continuous].
      condition: [batch, categories + continuous].

    Returns:
      float32 [batch].

    Reference: Chen et al. 2016, section 5 (the bound) and section 6 (the distributions).
    """
    category, code = jnp.split(condition, [config.code_categories], axis=-1)
    loss = cross_entropy(outputs["category"], category)
    if config.code_continuous:
        distance = jnp.square(code - outputs["code"])
        loss += jnp.sum(0.5 * distance + 0.5 * jnp.log(2 * jnp.pi), axis=-1)
    return loss


def _code_sizes(config: GANConfig, classes: int) -> tuple[tuple[str, int], ...]:
    code = (("code", config.code_continuous),) if config.code_continuous else ()
    return (("category", config.code_categories), *code)


RECOGNITION: dict[str, Recognition | None] = {
    "none": None,
    "concat": None,
    "projection": None,
    "embed": None,
    "mapping": None,
    "acgan": Recognition(lambda config, classes: (("class", classes),), class_loss, on_real=True),
    "infogan": Recognition(_code_sizes, code_loss, on_real=False),
}
"""From D's conditioning to its further task, if any."""


class Conditioning(NamedTuple):
    """What the networks of a GAN are given beside their inputs.

    Attributes:
      classes: that samples can be asked for; 0 without.
      labelled: whether it learns from the data's labels.
      draw: ``(key, index, labels) -> [batch, condition]``, or None for an unconditional model.
        Labels become one-hot; infogan draws codes, whose category is the label where there is one.
      recognition: D's further task, or None.
    """

    classes: int
    labelled: bool
    draw: Callable[[Key, Index, Labels | None], Embedding | None]
    recognition: Recognition | None

    def given(self, spec: Spec) -> Spec:
        """What samples are made from: labels, infogan's categories in their place, or nothing."""
        if not self.classes:
            return spec._replace(given=())
        label = Field((), "int32", self.classes)
        return spec._replace(
            fields={**spec.fields, "label": label}, given=("label",), categories=not self.labelled
        )


def make_conditioning(config: GANConfig, classes: int) -> Conditioning:
    """Finds what a configuration's networks are conditioned on.

    Args:
      config: of the GAN.
      classes: of the data set; 0 without labels.

    Returns:
      The conditioning.

    Raises:
      UserError: unknown names, one network conditional and the other not, or data without labels.
    """
    generator, discriminator = config.generator_conditioning, config.discriminator_conditioning
    lookup(dict.fromkeys(GENERATOR_CONDITIONING), generator, "conditioning of the generator")
    recognition = lookup(RECOGNITION, discriminator, "conditioning of the discriminator")
    if (generator == "none") != (discriminator == "none"):
        raise UserError(
            f"generator_conditioning is {generator!r} and discriminator_conditioning is "
            f"{discriminator!r}; set both, or neither"
        )
    if generator == "none":
        return Conditioning(0, False, lambda key, index, labels: None, None)
    if discriminator == "infogan":
        return Conditioning(config.code_categories, False, _draw_codes(config), recognition)
    if not classes:
        raise UserError(
            f"discriminator_conditioning {discriminator!r} needs class labels, and {NO_LABELS}"
        )

    def one_hot(key: Key, index: Index, labels: Labels | None) -> Embedding:
        assert labels is not None
        return jax.nn.one_hot(labels, classes)

    return Conditioning(classes, True, one_hot, recognition)


def _draw_codes(config: GANConfig) -> Callable[[Key, Index, Labels | None], Embedding]:
    def draw(key: Key, index: Index, labels: Labels | None) -> Embedding:
        keys = example_keys(stream(key, "code"), index)

        def one(key: Key) -> tuple[Array, Array]:
            category = jax.random.randint(stream(key, "category"), (), 0, config.code_categories)
            shape = (config.code_continuous,)
            return category, jax.random.uniform(stream(key, "code"), shape, minval=-1.0)

        category, code = jax.vmap(one)(keys)
        chosen = category if labels is None else labels
        return jnp.concatenate([jax.nn.one_hot(chosen, config.code_categories), code], axis=-1)

    return draw
