"""What a GAN is conditioned on, and what its discriminator must tell of it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.config import GANConfig
from genjax.core.captions import CAPTION, drawn
from genjax.core.frozen import NO_NETWORKS, Networks
from genjax.core.rng import example_keys, stream
from genjax.core.schema import LABEL, NO_LABELS, Field, Spec
from genjax.core.types import Condition, Embedding, Index, Key, Labels, PerExample
from genjax.errors import UserError, lookup
from genjax.families.contrastive.reading import ENCODER, TextEncoder, text_encoder
from genjax.families.gan.networks import GENERATOR_CONDITIONING
from genjax.nn.text import unit

Auxiliary = Mapping[str, Float[Array, "batch size"]]
Known: TypeAlias = Labels | Embedding
"""What is known of examples: their labels, or vectors where there are captions."""


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
      labelled: whether it learns from what the data say of examples, their labels or captions.
      draw: ``(key, index, known) -> [batch, condition]``, or None for an unconditional model.
        Labels become one-hot; infogan draws codes, whose category is the label where there is one;
        vectors stay.
      recognition: D's further task, or None.
      encoder: of captions; None of a model without.
    """

    classes: int
    labelled: bool
    draw: Callable[[Key, Index, Known | None], Embedding | None]
    recognition: Recognition | None
    encoder: TextEncoder | None = None

    def read(
        self, fields: Condition, frozen: Mapping[str, Any], key: Key, index: Index
    ) -> Known | None:
        """Reads what is known of examples.

        Args:
          fields: labels and captions [batch, ...], if any.
          frozen: variables of other runs, by field and player.
          key: of the draw of one of several captions.
          index: int32 [batch], of the examples in the whole batch.

        Returns:
          The labels; with captions float32 [batch, condition]: the one-hot labels, if any, then
          the vector of a caption, as long as those, 1, or 0 for none. None where nothing is known.
        """
        labels = fields.get(LABEL)
        if self.encoder is None:
            return labels
        captions = drawn(fields[CAPTION], stream(key, CAPTION), index)
        encoded = self.encoder.encode(frozen[ENCODER], captions)
        return self._beside_labels(labels, unit(encoded.pooled))

    def first(self, spec: Spec, index: Index) -> Known | None:
        """What the first state knows of examples: labels that the data have, and no captions."""
        if not self.labelled:
            return None
        present = jnp.asarray(spec.labels, index.dtype)
        labels = present[index % len(present)] if self.classes else None
        if self.encoder is None:
            return labels
        return self._beside_labels(labels, jnp.zeros((len(index), self.encoder.pooled)))

    def _beside_labels(self, labels: Labels | None, vectors: Embedding) -> Embedding:
        if labels is None:
            return vectors
        return jnp.concatenate([jax.nn.one_hot(labels, self.classes), vectors], axis=1)

    def given(self, spec: Spec) -> Spec:
        """What samples are made from: labels, captions, infogan's categories, or nothing."""
        if self.encoder is not None:
            return spec._replace(given=tuple(x for x in spec.given if x in (LABEL, CAPTION)))
        if not self.classes:
            return spec._replace(given=())
        label = Field((), "int32", self.classes)
        return spec._replace(
            fields={**spec.fields, "label": label}, given=("label",), categories=not self.labelled
        )


def reader_of(
    config: GANConfig, spec: Spec, networks: Networks = NO_NETWORKS
) -> TextEncoder | None:
    """The network of another run that reads captions, where the networks are given some.

    Args:
      config: of the GAN.
      spec: of the data.
      networks: of other runs: ``text_encoder``, where the configuration names one.

    Returns:
      The network; None where no captions are given.

    Raises:
      UserError: there are captions and none to read them, or the other way round; or D tells
        classes apart.
    """
    named, conditional = config.text_encoder, config.generator_conditioning != "none"
    if CAPTION not in spec.given or not conditional:
        if named is None:
            return None
        missing = (
            f"data.given has no caption; leave it out, or set data.given to {CAPTION}"
            if conditional
            else "the networks are given nothing; leave it out, or set generator_conditioning and "
            "discriminator_conditioning"
        )
        raise UserError(f"text_encoder is {named}, but {missing}")
    task = config.discriminator_conditioning
    if RECOGNITION.get(task) is not None:
        raise UserError(
            f"discriminator_conditioning {task!r} is about classes, not captions; set it to "
            "'projection', 'embed' or 'concat', or leave caption out of data.given"
        )
    if named is None:
        raise UserError(
            "a GAN's captions are read by another run; name it by --model.text-encoder RUN; genjax "
            "train clip-emoji makes one, or genjax weights import minilm"
        )
    return text_encoder(networks[ENCODER], spec, ENCODER)


def make_conditioning(
    config: GANConfig, classes: int, encoder: TextEncoder | None = None
) -> Conditioning:
    """Finds what a configuration's networks are conditioned on.

    Args:
      config: of the GAN.
      classes: of the data set; 0 without labels.
      encoder: of its captions; None without.

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
    if encoder is not None:
        return Conditioning(classes, True, lambda key, index, vectors: vectors, None, encoder)
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
