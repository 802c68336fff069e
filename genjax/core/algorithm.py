"""What a family of models is to the rest of genjax: four pure functions."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.core.rng import example_index, example_keys, stream
from genjax.core.types import Batch, Images, Index, Key, Labels, Metrics, RawImages, State

Tree = TypeVar("Tree")


class Algorithm(NamedTuple):
    """A family of models, ready to be compiled.

    Attributes:
      init: ``(key) -> state``; everything that training changes, as one pytree.
      step: ``(state, batch) -> (state, metrics)``; one training step, pure and not yet compiled.
      sample: ``(state, key, index, label) -> images``; sample number `index[i]` of the series that
        `key` names, of class `label[i]` (int32 [batch]), as float32
        [batch, height, width, channels] in [-1, 1]. Without labels (None), sample i is of class
        ``i % classes``. A sample does not depend on the others in its batch.
      evaluate: ``(state, batch, key) -> metrics`` on held-out data, or None. Metrics are means over
        the batch.
      examples: examples that one step consumes, over all devices.
      classes: classes that `sample` can be asked for; 0 for a model without.
      parts: the updates that `step` makes one after the other, by player, each
        ``(state, batch) -> (state, metrics)``, to be measured apart; may be empty.
      panels: ``(state, batch, key) -> list of images``, each [n, height, width, channels], to be
        shown beside samples, or None. `batch` is as `step` takes it.
    """

    init: Callable[[Key], State]
    step: Callable[[State, Batch], tuple[State, Metrics]]
    sample: Callable[[State, Key, Index, Labels | None], Images]
    evaluate: Callable[[State, Batch, Key], Metrics] | None
    examples: int
    classes: int = 0
    parts: Mapping[str, Callable[[State, Batch], tuple[State, Metrics]]] = MappingProxyType({})
    panels: Callable[[State, Batch, Key], list[Images]] | None = None


def pmean(tree: Tree, axis_name: str | None) -> Tree:
    """Averages over the devices of a mapped axis; the identity without one."""
    if axis_name is None:
        return tree
    result: Tree = jax.lax.pmean(tree, axis_name)
    return result


def ema_update(average: Tree, new: Tree, decay: float | Float[Array, ""]) -> Tree:
    """Moves an exponential average: ``decay * average + (1 - decay) * new``, leaf by leaf."""
    result: Tree = jax.tree.map(lambda a, n: decay * a + (1 - decay) * n, average, new)
    return result


def global_norm(tree: Any) -> Float[Array, ""]:
    """Euclidean norm of all leaves together, summed in float32."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(x.astype(jnp.float32))) for x in jax.tree.leaves(tree)))


def scale_images(images: RawImages) -> Images:
    """Maps uint8 0..255 to float32 [-1, 1]: ``x / 127.5 - 1``."""
    return images.astype(jnp.float32) / 127.5 - 1.0


def quantize_images(images: Images) -> RawImages:
    """Maps float [-1, 1] to the nearest uint8, the inverse of `scale_images`."""
    levels = jnp.round((images.astype(jnp.float32) + 1.0) * 127.5)
    return jnp.clip(levels, 0, 255).astype(jnp.uint8)


def flip_images(images: Images, key: Key, index: Index) -> Images:
    """Mirrors each image left to right with probability 1/2.

    Args:
      images: float32 [batch, height, width, channels].
      key: key of the draw.
      index: int32 [batch], positions in the whole batch.

    Returns:
      The images, some of them mirrored.
    """
    heads = jax.vmap(jax.random.bernoulli)(example_keys(key, index))
    return jnp.where(heads[:, None, None, None], images[:, :, ::-1], images)


def with_raw_images(algorithm: Algorithm, flip: bool, axis_name: str | None) -> Algorithm:
    """Lets an algorithm's step take batches as the data sets hold them.

    Images of uint8 are scaled to [-1, 1]; points are float32 and there already.

    Args:
      algorithm: it takes ``batch["image"]`` as float32 in [-1, 1].
      flip: mirror each image with probability 1/2 in a step.
      axis_name: mapped axis over the devices, if any.

    Returns:
      The algorithm with scaling, and flips in a step, compiled into what takes a batch.
    """

    def scaled(batch: Batch) -> Batch:
        images = batch["image"]
        return {**batch, "image": scale_images(images) if images.dtype == jnp.uint8 else images}

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        batch = scaled(batch)
        if flip:
            images = batch["image"]
            index = example_index(images.shape[0], axis_name)
            key = stream(state.key, "flip", state.step)
            batch = {**batch, "image": flip_images(images, key, index)}
        return algorithm.step(state, batch)

    def with_scaled(function: Any) -> Any:
        return function and (lambda state, batch, key: function(state, scaled(batch), key))

    def part(function: Any) -> Any:
        return lambda state, batch: function(state, scaled(batch))

    return algorithm._replace(
        step=step,
        parts={name: part(function) for name, function in algorithm.parts.items()},
        evaluate=with_scaled(algorithm.evaluate),
        panels=with_scaled(algorithm.panels),
    )
