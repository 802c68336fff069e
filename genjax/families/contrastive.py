"""Joint embeddings of images and texts, as CLIP's, which make no samples."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from genjax.config import LEAST_TEMPERATURE, ContrastiveConfig, NoImages
from genjax.core.algorithm import Algorithm, pmean
from genjax.core.captions import CAPTION, drawn
from genjax.core.from_loss import Context, NetworkState, from_loss
from genjax.core.frozen import NO_NETWORKS, Frozen, Networks
from genjax.core.optimizers import make_optimizer
from genjax.core.players import apply_training, sampling_variables
from genjax.core.rng import example_index, stream
from genjax.core.schema import Field, Spec
from genjax.core.types import Batch, Images, Key, Metrics, Params, PerExample, Variables
from genjax.domains.image import shift_images
from genjax.errors import UserError
from genjax.nn.image_towers import make_image_tower
from genjax.nn.layers import Layers, gather_batch
from genjax.nn.text import Encoded, make_text_tower, text_width, unit

ENCODER = "text_encoder"
"""The field of a model that names the run of a text encoder."""

Texts = Int[Array, "batch length"]
Read = Texts | Float[Array, "batch pooled"]
"""Texts as tokens, or as what a text encoder knows of each."""
Embeddings = Float[Array, "batch size"]


class Joint(nn.Module):
    """A network of texts and one of images, each followed by a linear layer to one space.

    Attributes:
      text: ``(tokens, train) -> Encoded``; None where that of another run has read them.
      image: ``(images, train) -> features``; None of a network of texts alone, whose embedding is
        that of the whole text.
      size: dimensions of the space.
      temperature: that similarities are divided by at first.
      layers: what the linear layers have in common.

    Reference: Radford et al. 2021, figure 3.
    """

    text: Any
    image: Any
    size: int
    temperature: float
    layers: Layers

    def setup(self) -> None:
        """Makes what is neither of the two networks."""
        if self.image is None:
            return
        init = nn.initializers.lecun_normal()
        self.text_projection = self.layers.dense(self.size, init, use_bias=False)
        self.image_projection = self.layers.dense(self.size, init, use_bias=False)
        start = nn.initializers.constant(-math.log(self.temperature))
        self.log_scale = self.param("log_scale", start, ())

    def __call__(
        self, texts: Read, train: bool, images: Images | None = None
    ) -> tuple[Embeddings, Embeddings | None, Float[Array, ""] | None]:
        """Both embeddings, and what their products are multiplied by."""
        texts = self.embed_texts(texts, train)
        if images is None:
            return texts, None, None
        return texts, self.embed_images(images, train), jnp.exp(self.log_scale)

    def encode_text(self, tokens: Texts, train: bool) -> Encoded:
        """What the network of texts knows of each token, and of the whole."""
        encoded: Encoded = self.text(tokens, train)
        return encoded

    def embed_texts(self, texts: Read, train: bool) -> Embeddings:
        """Texts in the space, of length 1; 0 of a text without any token."""
        pooled = texts if self.text is None else self.text(texts, train).pooled
        if self.image is None:
            return unit(pooled)
        return unit(self.text_projection(pooled.astype(self.layers.dtype)))

    def embed_images(self, images: Images, train: bool) -> Embeddings:
        """Images in the space, of length 1."""
        return unit(self.image_projection(self.image(images, train)))


def texts_of(spec: Spec) -> Field:
    """The texts of the data of a joint embedding: captions, or examples that are texts themselves.

    Args:
      spec: of the data.

    Returns:
      Their field, whose last axis is over the tokens.

    Raises:
      UserError: the data have none.
    """
    if CAPTION in spec.given:
        return spec.fields[CAPTION]
    target = spec.fields[spec.target]
    if len(target.shape) == 1 and target.levels:
        return target
    raise UserError(
        f"a joint embedding is of images and their captions, and of {spec.target!r} data have no "
        f"{CAPTION!r}, or data.given leaves it out; give --data.given {CAPTION}, or choose other "
        "data"
    )


def make_joint(config: ContrastiveConfig, spec: Spec, axis_name: str | None = None) -> Joint:
    """Builds the network, without parameters.

    Args:
      config: the model.
      spec: of the data.
      axis_name: mapped axis over the devices, if any.

    Returns:
      A `Joint`.

    Raises:
      UserError: the data have no captions, or do not fit a network.
    """
    field, dtype = texts_of(spec), jnp.dtype(config.dtype)
    text = image = None
    if config.text_encoder is None:
        text = make_text_tower(config.text, field.levels, field.shape[-1], dtype, axis_name)
    if not isinstance(config.image, NoImages):
        if not spec.is_image or CAPTION not in spec.given:
            raise UserError(
                f"a joint embedding is of images and their captions, but examples are "
                f"{spec.target!r} of shape {spec.shape}; choose other data"
            )
        image = make_image_tower(config.image, spec.shape, dtype, axis_name)
    layers = Layers(dtype=dtype, axis_name=axis_name)
    return Joint(text, image, config.size, config.temperature, layers)


class TextEncoder(NamedTuple):
    """The network of texts of a run.

    Attributes:
      encode: ``(variables, tokens) -> Encoded``, from the run's variables by player.
      field: of the texts that it learnt from; `shape[-1]` is the most tokens.
      width: of what is known of each token.
      pooled: of what is known of a whole text.
    """

    encode: Callable[[Variables, Texts], Encoded]
    field: Field
    width: int
    pooled: int


def text_encoder(
    network: Frozen, spec: Spec, what: str, axis_name: str | None = None
) -> TextEncoder:
    """The network of texts of another run, to be used as it is.

    Args:
      network: of the run.
      spec: of the data whose captions it is to read.
      what: the field that names it, for messages.
      axis_name: mapped axis over the devices, if any.

    Returns:
      The network.

    Raises:
      UserError: the run is of another family, its tokens are not those of the data, or it has no
        network of texts of its own.
    """
    config = network.model
    if not isinstance(config, ContrastiveConfig):
        raise UserError(
            f"{what} is a run of the family 'contrastive', such as genjax weights import minilm "
            f"makes one, but this is {config.family!r}"
        )
    if config.text_encoder is not None:
        raise UserError(
            f"{what} is a run that reads texts by the network of another one; name that, "
            f"{config.text_encoder}"
        )
    check_texts(network.spec, spec, what)
    joint = make_joint(config, network.spec, axis_name)

    def encode(variables: Variables, tokens: Texts) -> Encoded:
        encoded: Any = joint.apply(variables["network"], tokens, False, method="encode_text")
        found: Encoded = encoded
        return found

    return TextEncoder(encode, texts_of(network.spec), *text_width(config.text))


class Reader(NamedTuple):
    """How a joint embedding comes by what it makes vectors of texts of.

    Attributes:
      encoder: of another run; None where its own network reads tokens.
    """

    encoder: TextEncoder | None

    def read(self, frozen: Mapping[str, Any], tokens: Texts) -> Read:
        """What the joint embedding takes.

        Args:
          frozen: variables of other runs, by field and player.
          tokens: int32 [batch, L]; -1 behind each text.

        Returns:
          The tokens, or float32 [batch, pooled] of the encoder.
        """
        if self.encoder is None:
            return tokens
        return self.encoder.encode(frozen[ENCODER], tokens).pooled


def reader_of(
    config: ContrastiveConfig, spec: Spec, networks: Networks, axis_name: str | None = None
) -> Reader:
    """Finds what reads the texts of a joint embedding.

    Args:
      config: the model.
      spec: of the data.
      networks: of other runs: ``text_encoder``, where the configuration names one.
      axis_name: mapped axis over the devices, if any.

    Returns:
      A `Reader`.

    Raises:
      UserError: as `text_encoder` does.
    """
    if config.text_encoder is None:
        return Reader(None)
    return Reader(text_encoder(networks[ENCODER], spec, ENCODER, axis_name))


def check_texts(theirs: Spec, ours: Spec, what: str) -> None:
    """Refuses another run that reads captions where the data have other tokens.

    Args:
      theirs: of that run's data.
      ours: of the data.
      what: the field that names the run, for messages.

    Raises:
      UserError: the tokenizers differ, or captions of the data are too long.
    """
    if _tokenizer(ours) != _tokenizer(theirs):
        raise UserError(
            f"{what} reads tokens of {_tokenizer(theirs)['tokenizer']!r} with a vocabulary of its "
            "own, and the data have others; import the data with that vocabulary"
        )
    most, length = (texts_of(spec).shape[-1] for spec in (theirs, ours))
    if length > most:
        raise UserError(
            f"{what} reads texts of up to {most} tokens, but captions of the data have up to "
            f"{length}; name another run, or import the data with shorter ones"
        )


def _tokenizer(spec: Spec) -> dict[str, Any]:
    """What the facts say of tokens."""
    return {name: spec.facts.get(name) for name in ("tokenizer", "vocabulary", "definition")}


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
    reader = reader_of(config, spec, networks, axis_name)

    def variables(key: Key) -> Variables:
        tokens: Read = jnp.zeros((1, field.shape[-1]), jnp.int32)
        if reader.encoder is not None:
            tokens = jnp.zeros((1, reader.encoder.pooled))
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
        read = reader.read(context.frozen, tokens)
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
        read = reader.read(getattr(state, "frozen", {}), tokens)
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


class Contrast(NamedTuple):
    """How well images and captions are told apart.

    Attributes:
      losses: of each pair, in nats, float32 [batch]; 0 without a caption.
      hits: 1 where of all captions an image's own is the most like it, 0 elsewhere and in doubt.
      counts: 1 for a pair, 0 for an image without a caption.
    """

    losses: PerExample
    hits: PerExample
    counts: PerExample


def contrast(
    texts: Embeddings,
    images: Embeddings,
    tokens: Texts,
    scale: Float[Array, ""],
    axis_name: str | None,
) -> Contrast:
    """The symmetric InfoNCE loss of each pair among those of the whole batch.

    With similarities ``s_ij = scale x_i . t_j`` of image i and text j, it is ``-(log p_i(i) +
    log q_i(i)) / 2``, where ``p_i(j) = exp(s_ij) / sum_k exp(s_ik)`` and ``q_i(j) = exp(s_ji) /
    sum_k exp(s_ki)``. The sums leave out other examples with an equal caption, which are right
    answers, too, and those without one. With soft targets in their place, the least loss would
    depend on how many equal captions there are in a batch.

    Args:
      texts: of length 1, float32 [batch, size].
      images: likewise.
      tokens: the captions, int32 [batch, L]; all -1 for none.
      scale: of the similarities.
      axis_name: mapped axis over the devices, of which each has some of the batch.

    Returns:
      Of the examples of this device.

    Reference: Radford et al. 2021, figure 3; van den Oord et al. 2018, equation 4.
    """
    others = gather_batch(tokens, axis_name)
    place = example_index(len(tokens), axis_name)
    own = place[:, None] == jnp.arange(len(others))
    there = (tokens >= 0).any(axis=1).astype(jnp.float32)
    equal = (tokens[:, None] == others[None]).all(axis=-1)
    seen = own | (~equal & (others >= 0).any(axis=1))

    def nats(these: Embeddings, those: Embeddings) -> tuple[PerExample, PerExample]:
        products = jnp.matmul(
            these, gather_batch(those, axis_name).T, preferred_element_type=jnp.float32
        )
        scores = jnp.where(seen, scale * products, -jnp.inf)
        right = jnp.sum(jnp.where(own, scale * products, 0), axis=1)
        best = jnp.max(jnp.where(own, -jnp.inf, scores), axis=1)
        return jax.nn.logsumexp(scores, axis=1) - right, right > best

    of_images, hits = nats(images, texts)
    of_texts, _ = nats(texts, images)
    return Contrast(there * (of_images + of_texts) / 2, there * hits, there)


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
