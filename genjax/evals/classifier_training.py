"""Trains the classifier of a data set, by a recipe that is the same for everybody."""

import functools
import importlib.metadata
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Int, UInt8

from genjax.config import DataConfig
from genjax.core.algorithm import flip_images, scale_images
from genjax.core.compiler import jit
from genjax.core.players import apply_training
from genjax.core.rng import example_index, example_keys, stream
from genjax.core.types import Images, Key, Labels, RawImages
from genjax.data import prepared
from genjax.data.order import batch_indices
from genjax.data.progress import Progress, no_progress
from genjax.data.sources import Dataset, load
from genjax.errors import UserError
from genjax.evals.classifier import (
    DEFAULT_RECIPE,
    RECIPES,
    Recipe,
    ResNet,
    Trained,
    accuracy,
    make_network,
    save_classifier,
)
from genjax.evals.features import FeatureNetwork

_WARM_UP = 0.2


def train_classifier(
    images: UInt8[np.ndarray, "n height width channels"],
    labels: Int[np.ndarray, "n"],
    classes: int,
    recipe: Recipe,
    data: str,
    seed: int = 0,
    progress: Progress = no_progress,
) -> FeatureNetwork:
    """Trains a classifier from scratch: AdamW on the cross-entropy.

    The result depends on the arguments alone, up to how a machine adds.

    Args:
      images: uint8 [n, height, width, channels].
      labels: int [n], in [0, classes).
      classes: number of classes.
      recipe: how to train; its batch is cut to n.
      data: what the images are from, for the name.
      seed: of the first weights, the order and the augmentation.
      progress: shows how far it is.

    Returns:
      The classifier, as a feature network.
    """
    batch = min(recipe.batch, len(images))
    steps = recipe.epochs * (len(images) // batch)
    key = jax.random.key(seed)
    program = _compile(recipe, classes, steps)
    state = program.init(key, jnp.asarray(images[:1]))
    for number in progress(range(steps), f"training on {data}", steps):
        chosen = batch_indices(number, batch, len(images), seed)
        step_key = stream(key, "augment", number)
        state = program.step(state, step_key, images[chosen], labels[chosen])
    params, statistics, _ = jax.device_get(state)
    variables = {"params": params, "batch_stats": statistics}
    return make_network(variables, data, images.shape[1:], classes, recipe.width)


class _Program(NamedTuple):
    """From key and images to a first state; and from state, key and a batch to the next one."""

    init: Callable[[Key, RawImages], Any]
    step: Callable[..., Any]


# Scoring several runs compiles once.
@functools.cache
def _compile(recipe: Recipe, classes: int, steps: int) -> _Program:
    module = ResNet(classes, recipe.width)
    optimizer = _make_optimizer(recipe, steps)

    def init(key: Key, images: RawImages) -> Any:
        variables: Any = module.init(key, scale_images(images), False)
        params, statistics = variables["params"], variables["batch_stats"]
        return params, statistics, optimizer.init(params)

    def step(state: Any, key: Key, images: RawImages, labels: Labels) -> Any:
        params, statistics, moments = state
        inputs = augment(scale_images(images), recipe, key)

        def loss(params: Any) -> Any:
            output, changed = apply_training(module, params, {"batch_stats": statistics}, inputs)
            losses = optax.softmax_cross_entropy_with_integer_labels(output.logits, labels)
            return losses.mean(), changed["batch_stats"]

        gradient, statistics = jax.grad(loss, has_aux=True)(params)
        updates, moments = optimizer.update(gradient, moments, params)
        return optax.apply_updates(params, updates), statistics, moments

    return _Program(jit(init), jit(step, donate_argnums=0))


def _make_optimizer(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    peak = recipe.learning_rate
    warm_up = math.ceil(_WARM_UP * steps)
    rate = optax.warmup_cosine_decay_schedule(peak / 10, peak, warm_up, steps + 1)

    def kernels(params: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    return optax.adamw(rate, weight_decay=recipe.weight_decay, mask=kernels)


def augment(images: Images, recipe: Recipe, key: Key) -> Images:
    """Translates each image at random, repeating its edge, and mirrors half if the recipe says so.

    Args:
      images: float32 [batch, height, width, channels].
      recipe: it has the largest translation.
      key: of the step.

    Returns:
      As many images of the same shape, each a function of the key, its place and itself.
    """
    index = example_index(images.shape[0], None)
    if recipe.flip:
        images = flip_images(images, stream(key, "flip"), index)
    by, (height, width, channels) = recipe.shift, images.shape[1:]
    wide = jnp.pad(images, [(0, 0), (by, by), (by, by), (0, 0)], mode="edge")

    def translate(image: Any, key: Key) -> Any:
        row, column = jax.random.randint(key, (2,), 0, 2 * by + 1)
        return jax.lax.dynamic_slice(image, (row, column, 0), (height, width, channels))

    return jax.vmap(translate)(wide, example_keys(stream(key, "shift"), index))


def train_features(
    name: str, directory: str | None = None, progress: Progress = no_progress
) -> Trained:
    """Trains the classifier of a data set by its recipe, measures it and keeps it.

    A set without a test split gives up a tenth of its images, chosen at random, to measure it on.

    Args:
      name: the data set.
      directory: folder of prepared data sets.
      progress: shows how far it is.

    Returns:
      The classifier, which `load_classifier` finds from now on.

    Raises:
      UserError: the data set isn't there, or has no labels.
    """
    train = load(DataConfig(name, directory=directory), progress)
    if train.labels is None:
        raise UserError(f"{name!r} has no class labels, from which a classifier could learn")
    if train.modes is not None:
        raise UserError(f"{name!r} holds points; a classifier is for images")
    (images, labels), (test, answers), held_out = _split(train, directory, progress)
    recipe = RECIPES.get(name, DEFAULT_RECIPE)
    start = time.perf_counter()
    network = train_classifier(images, labels, train.classes, recipe, name, progress=progress)
    seconds = time.perf_counter() - start
    trained = Trained(
        network,
        name,
        images.shape[1:],
        train.classes,
        recipe,
        accuracy(network, test, answers),
        held_out,
        round(seconds, 1),
        importlib.metadata.version("genjax"),
    )
    save_classifier(trained)
    return trained


def _split(train: Dataset, directory: str | None, progress: Progress) -> Any:
    """Images and labels to learn from, the same of held-out ones, and what those are."""
    found = prepared.find(train.name, prepared.data_directory(directory))
    # What isn't prepared is bundled or Debian's, with a test split.
    if found is None or found.splits.get("test"):
        test = load(DataConfig(train.name, "test", directory=directory), progress)
        return (train.images, train.labels), (test.images, test.labels), "test"
    assert train.labels is not None
    count = len(train.images)
    chosen = np.zeros(count, bool)
    chosen[batch_indices(0, max(1, count // 10), count, seed=0)] = True
    kept, held = ((train.images[mask], train.labels[mask]) for mask in (~chosen, chosen))
    return kept, held, "a tenth of train"
