"""Trains the classifier of a data set, by a recipe that is the same for everybody."""

import dataclasses
import functools
import math
import time
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Shaped

from genjax.config import DataConfig
from genjax.core.compiler import jit
from genjax.core.from_loss import Context, Minimiser, from_loss
from genjax.core.players import apply_training
from genjax.core.rng import example_index, stream
from genjax.core.schema import Source
from genjax.core.types import Batch, Images, Key, Metrics, NetState, Params, Variables
from genjax.data import prepared
from genjax.data.order import batch_indices
from genjax.data.progress import Progress, no_progress
from genjax.data.sources import load, splits_of
from genjax.data.splits import NoSplit
from genjax.distribution import version_of
from genjax.domains import domain_of
from genjax.domains.image import flip_images, shift_images
from genjax.errors import UserError
from genjax.evals.classifier import (
    DEFAULT_RECIPE,
    FRONTS,
    RECIPES,
    Recipe,
    ResNet,
    Task,
    Trained,
    accuracy,
    at_side,
    make_network,
    save_classifier,
)
from genjax.evals.features import FeatureNetwork, Output, extract
from genjax.evals.turns import TURNS, all_turns, turn

_WARM_UP = 0.2
_CHUNK = 500


def train_classifier(
    images: Shaped[np.ndarray, "n ..."],
    labels: Int[np.ndarray, "n"] | None,
    classes: int,
    recipe: Recipe,
    data: str,
    domain: str = "image",
    seed: int = 0,
    progress: Progress = no_progress,
) -> FeatureNetwork:
    """Trains a classifier from scratch: AdamW on the cross-entropy.

    The result depends on the arguments alone, up to how a machine adds.

    Args:
      images: as they are stored, such as uint8 [n, height, width, channels].
      labels: int [n], in [0, classes); None learns how examples were turned.
      classes: number of classes, or `TURNS`.
      recipe: how to train; its batch is cut to n.
      data: what the images are from, for the name.
      domain: of them.
      seed: of the first weights, the order and the augmentation.
      progress: shows how far it is.

    Returns:
      The classifier, as a feature network.
    """
    batch = min(recipe.batch, len(images))
    steps = recipe.epochs * (len(images) // batch)
    key = jax.random.key(seed)
    task: Task = "turns" if labels is None else "classes"
    program = _compile(recipe, classes, steps, domain, images.shape[1:], task)
    state = program.init(key)
    for number in progress(range(steps), f"training on {data}", steps):
        chosen = batch_indices(number, batch, len(images), seed)
        label = {} if labels is None else {"label": labels[chosen]}
        state, _ = program.step(state, {"image": images[chosen], **label})
    trained = jax.device_get(state.classifier)
    variables = {"params": trained.params, **trained.variables}
    return make_network(variables, data, domain, images.shape[1:], classes, recipe.width, task)


@flax.struct.dataclass
class ClassifierState:
    """Everything that training changes.

    Attributes:
      step: int32 scalar, updates made.
      key: the base key; it never changes.
      classifier: the network.
    """

    step: Int[Array, ""]
    key: Key
    classifier: NetState


# Scoring several runs compiles once.
@functools.cache
def _compile(
    recipe: Recipe, classes: int, steps: int, domain: str, shape: tuple[int, ...], task: Task
) -> Minimiser:
    module, front = ResNet(classes, recipe.width), FRONTS[domain]

    def variables(key: Key) -> Variables:
        found: Variables = module.init(key, front(jnp.zeros((1, *shape), jnp.int16)), False)
        return found

    def loss(
        params: Params, batch: Batch, context: Context
    ) -> tuple[Float[Array, ""], tuple[Metrics, Variables]]:
        key = stream(context.run, "augment", context.step)
        inputs = front(batch["image"])
        if task == "classes":
            labels = batch["label"]
        else:
            labels = jax.random.randint(stream(key, "turn"), (len(inputs),), 0, TURNS)
            inputs = turn(inputs, labels)
        inputs = augment(inputs, recipe, key)
        output, changed = apply_training(module, params, context.variables, inputs)
        losses = optax.softmax_cross_entropy_with_integer_labels(output.logits, labels)
        return losses.mean(), ({"classifier/loss": losses.mean()}, changed)

    optimizer = _make_optimizer(recipe, steps)
    init, step = from_loss(ClassifierState, "classifier", variables, loss, optimizer)
    return Minimiser(jit(init), jit(step, donate_argnums=0))


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
    return shift_images(images, recipe.shift, stream(key, "shift"), index)


def train_features(
    name: str,
    directory: str | None = None,
    progress: Progress = no_progress,
    resolution: int | None = None,
) -> Trained:
    """Trains the network of a data set by its recipe, measures it and keeps it.

    With labels it is a classifier; without, it tells how an example was turned, and has features
    alone. A set without a test split gives up a tenth of its images, chosen at random, to measure
    it on.

    Args:
      name: the data set.
      directory: folder of prepared data sets.
      progress: shows how far it is.
      resolution: side in pixels to resize images to; None keeps their size.

    Returns:
      The classifier, which `load_classifier` finds from now on.

    Raises:
      UserError: the data set isn't there, or holds what is neither seen nor heard.
    """
    data = DataConfig(name, resolution=resolution, directory=directory)
    train = load(data, progress)
    domain = train.schema.domain
    if domain not in FRONTS:
        kinds = ", ".join(sorted(FRONTS))
        raise UserError(f"{name!r} holds {domain}; a classifier is for {kinds}")
    classes = train.schema.classes or TURNS
    (images, labels), (test, answers), held_out = _split(train, data, progress)
    recipe = RECIPES.get(name, DEFAULT_RECIPE)
    start = time.perf_counter()
    kept = at_side(name, resolution)
    network = train_classifier(images, labels, classes, recipe, kept, domain, progress=progress)
    seconds = time.perf_counter() - start
    trained = Trained(
        network,
        kept,
        domain,
        images.shape[1:],
        classes,
        recipe,
        _turns_told(network, domain, classes, recipe, test)
        if labels is None
        else accuracy(network, test, answers),
        held_out,
        round(seconds, 1),
        version_of("genjax"),
        _digests(data, progress),
        "turns" if labels is None else "classes",
    )
    save_classifier(trained)
    return trained


def _digests(data: DataConfig, progress: Progress) -> dict[str, str]:
    """Of each split that has an example: scores may compare with any."""
    found = {}
    for split in splits_of(data.name, data.directory):
        try:
            found[split] = load(dataclasses.replace(data, split=split), progress).digest()
        except NoSplit:
            continue
    return found


def _turns_told(
    network: FeatureNetwork, domain: str, classes: int, recipe: Recipe, examples: np.ndarray
) -> float:
    """Share of all turns of all examples that a network tells."""
    module, front = ResNet(classes, recipe.width), FRONTS[domain]

    def told(variables: Variables, batch: Any) -> Output:
        """In place of features whether each turn was told."""
        right = []
        for by, maps in enumerate(all_turns(front(batch))):
            output: Any = module.apply(variables, maps, False)
            right.append(output.logits.argmax(axis=1) == by)
        return Output(jnp.stack(right, axis=1).astype(jnp.float32), None)

    starts = range(0, len(examples), _CHUNK)
    batches = (examples[start : start + _CHUNK] for start in starts)
    return float(extract(network._replace(apply=told), batches, _CHUNK).features.mean())


def _split(train: Source, data: DataConfig, progress: Progress) -> Any:
    """Images and labels to learn from, the same of held-out ones, and what those are."""
    found = prepared.find(data.name, prepared.data_directory(data.directory))
    images, labels = _arrays(train)
    # What isn't prepared is bundled or Debian's, with a test split.
    if found is None or found.splits.get("test"):
        test = load(dataclasses.replace(data, split="test"), progress)
        return (images, labels), _arrays(test), "test"
    chosen = np.zeros(train.count, bool)
    chosen[batch_indices(0, max(1, train.count // 10), train.count, seed=0)] = True
    kept, held = (
        (images[mask], None if labels is None else labels[mask]) for mask in (~chosen, chosen)
    )
    return kept, held, "a tenth of train"


def _arrays(source: Source) -> tuple[np.ndarray, np.ndarray | None]:
    """All images, and their labels if they have any."""
    found = source.read(np.arange(source.count))
    return found[domain_of(source.schema.domain).field], found.get("label")
