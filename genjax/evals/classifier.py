"""The feature network of a data set: a small residual network, trained once and kept."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, Shaped
from safetensors import SafetensorError, safe_open

from genjax.cache import cache_directory
from genjax.core.schema import Source
from genjax.core.tensors import save_tensors
from genjax.core.types import Images, Variables
from genjax.domains import domain_of
from genjax.domains.image import scale_images
from genjax.errors import UserError
from genjax.evals.features import FeatureNetwork, Output, extract
from genjax.evals.spectrograms import spectrogram_maps
from genjax.nn.layers import Layers
from genjax.nn.resnet import residual_features

FEATURES = 128
"""Dimensions of the features."""

SHIPPED = Path(__file__).with_name("classifiers")
"""Classifiers of usual data sets, made by their recipes, so that scores of two machines compare."""

_CHUNK = 500
_HEAD_INIT = nn.initializers.lecun_normal()


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a classifier is made.

    Attributes:
      epochs: passes over the training images.
      batch: images a step.
      learning_rate: of AdamW at its peak, a fifth of the way; a cosine takes it to zero.
      weight_decay: of the kernels.
      width: channels at the first resolution; twice as many at the second, 128 at the third.
      shift: largest translation, in pixels along each axis.
      flip: mirror half of the images.
    """

    epochs: int
    batch: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    width: int = 32
    shift: int = 2
    flip: bool = False


RECIPES: dict[str, Recipe] = {
    "digits": Recipe(12, 50, learning_rate=5e-3, weight_decay=0.2, width=16, shift=1),
    "mnist": Recipe(epochs=4),
    "fashion_mnist": Recipe(epochs=6, shift=1),
    "cifar10": Recipe(epochs=10, width=48, shift=4, flip=True),
    "spoken_digits": Recipe(epochs=12, batch=50, width=24),
}
"""From data set to its recipe."""

DEFAULT_RECIPE = Recipe(epochs=10, width=48)
"""Of all other data sets."""


class ResNet(nn.Module):
    """A residual network of three blocks with batch norm, for images of 8 to 64 pixels.

    Attributes:
      classes: number of logits.
      width: channels of the first block; 32 costs 17 million operations at 28 x 28.
    """

    classes: int
    width: int = 32

    @nn.compact
    def __call__(self, images: Images, train: bool) -> Output:
        layers = Layers("batch")
        widths = self.width, 2 * self.width, FEATURES
        features = residual_features(images, widths, layers, train)
        return Output(features, layers.dense(self.classes, _HEAD_INIT)(features))


FRONTS: dict[str, Callable[[Any], Images]] = {"audio": spectrogram_maps, "image": scale_images}
"""What of each domain the classifier's network sees: from examples as they are stored to maps."""


Task = Literal["classes", "turns"]
"""What a network learns: the classes, or, of data without labels, how an example was turned."""


class Untrained(UserError):
    """There is no network of a data set yet."""


class Trained(NamedTuple):
    """A classifier, and what is known of its training.

    Attributes:
      network: the feature network.
      data: the data set.
      domain: of its examples.
      image: shape of an example, such as (height, width, channels).
      classes: number of classes, of turns where it learnt those.
      recipe: how it was made.
      accuracy: share of the held-out images that it names rightly.
      held_out: which images those are: ``test``, or ``a tenth of train``.
      seconds: of training.
      version: of genjax.
      digests: of the data set's splits.
      task: what it learnt.
    """

    network: FeatureNetwork
    data: str
    domain: str
    image: tuple[int, ...]
    classes: int
    recipe: Recipe
    accuracy: float
    held_out: str
    seconds: float
    version: str
    digests: Mapping[str, str]
    task: Task = "classes"


def make_network(
    variables: Variables,
    data: str,
    domain: str,
    image: tuple[int, ...],
    classes: int,
    width: int,
    task: Task = "classes",
) -> FeatureNetwork:
    """Makes a feature network of a trained `ResNet`.

    It uses the running statistics, so that no image's features depend on the others.

    Args:
      variables: of the ResNet, float32.
      data: the data set it learnt from.
      domain: of its examples.
      image: shape of an example.
      classes: number of classes.
      width: of the ResNet.
      task: what it learnt; its logits are kept if that is the classes.

    Returns:
      The network ``classifier-<data>`` or ``turns-<data>``; it raises UserError for images of
      another shape.
    """
    module = ResNet(classes, width)

    def apply(variables: Variables, images: Any) -> Output:
        _check_shape(data, image, images.shape[1:])
        output: Any = module.apply(variables, FRONTS[domain](images), False)
        return Output(output.features, output.logits if task == "classes" else None)

    name = f"{'classifier' if task == 'classes' else task}-{data}"
    return FeatureNetwork(name, hash_variables(variables), "none", variables, apply)


def _check_shape(data: str, image: tuple[int, ...], given: tuple[int, ...]) -> None:
    if given != image:
        known, found = ("x".join(map(str, shape)) for shape in (image, given))
        resized = len(given) == 3 and given[0] == given[1] and given[2:] == image[2:]
        command = train_command(at_side(data.partition(_AT)[0], given[0]))
        raise UserError(
            f"the classifier of {data!r} knows examples of {known}, but these are {found}; "
            + (f"run: {command}, or " if resized else "leave out the resolution, or ")
            + "choose other features"
        )


def hash_variables(variables: Variables) -> str:
    """First 12 hexadecimal digits of the SHA-256 of all names, shapes and values, by name."""
    digest = hashlib.sha256()
    for name, array in sorted(_flatten(variables).items()):
        digest.update(f"{name}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:12]


def accuracy(
    network: FeatureNetwork,
    images: Shaped[np.ndarray, "n ..."],
    labels: Int[np.ndarray, "n"],
) -> float:
    """Share of images whose class a network names.

    Args:
      network: it has logits.
      images: as they are stored, such as uint8 [n, height, width, channels].
      labels: int [n].

    Returns:
      ``mean(argmax_k logits_ik = labels_i)``.
    """
    starts = range(0, len(images), _CHUNK)
    found = extract(network, (images[start : start + _CHUNK] for start in starts), _CHUNK)
    assert found.logits is not None
    return float(np.mean(found.logits.argmax(axis=1) == labels))


_AT = "@"


def at_side(data: str, side: int | None) -> str:
    """What a data set is called whose images were resized: ``clothing@32``; itself for None."""
    return data if side is None else f"{data}{_AT}{side}"


def train_command(data: str) -> str:
    """The command that trains the classifier of a data set, perhaps of resized images."""
    name, at, side = data.partition(_AT)
    return f"genjax evaluate --train-features {name}" + (f" --resolution {side}" if at else "")


def classifier_path(data: str) -> Path:
    """Where the classifier of a data set, or of its images `at_side`, is kept."""
    return cache_directory() / "features" / f"classifier-{data.replace('/', '-')}.safetensors"


def save_classifier(trained: Trained) -> None:
    """Keeps a classifier, in place of an earlier one of its data set."""
    path = classifier_path(trained.data)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    metadata = {
        "data": trained.data,
        "domain": trained.domain,
        "image": json.dumps(trained.image),
        "classes": str(trained.classes),
        "recipe": json.dumps(dataclasses.asdict(trained.recipe)),
        "accuracy": repr(trained.accuracy),
        "held_out": trained.held_out,
        "seconds": repr(trained.seconds),
        "genjax": trained.version,
        "digests": json.dumps(dict(trained.digests)),
        "task": trained.task,
    }
    save_tensors(_flatten(trained.network.variables), part, metadata)
    part.replace(path)


def find_classifier(data: str) -> Path | None:
    """The file of a data set's classifier: one's own, or else the one that comes with genjax."""
    files = (classifier_path(data), SHIPPED / f"{data.replace('/', '-')}.safetensors")
    return next((path for path in files if path.exists()), None)


def read_classifier(data: str) -> Trained:
    """Reads the classifier of a data set, with what is known of its training.

    Args:
      data: the data set, perhaps `at_side`.

    Returns:
      The classifier.

    Raises:
      UserError: it isn't trained yet, or its file is damaged.
    """
    path = find_classifier(data)
    train = train_command(data)
    if path is None:
        raise Untrained(f"no classifier of {data!r} yet; run: {train}")
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata()
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        image = tuple(json.loads(metadata["image"]))
        classes = int(metadata["classes"])
        recipe = Recipe(**json.loads(metadata["recipe"]))
        # Classifiers of before there were others are of images.
        domain = metadata.get("domain", "image")
        variables = _unflatten(arrays, ResNet(classes, recipe.width), domain, image)
        task: Task = "turns" if metadata.get("task") == "turns" else "classes"
        return Trained(
            make_network(variables, data, domain, image, classes, recipe.width, task),
            metadata["data"],
            domain,
            image,
            classes,
            recipe,
            float(metadata["accuracy"]),
            metadata["held_out"],
            float(metadata["seconds"]),
            metadata["genjax"],
            # Those of before did not say.
            dict(json.loads(metadata.get("digests", "{}"))),
            task,
        )
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"the file of the classifier of {data!r} is damaged or of another version of genjax; "
            f"train it again: {train}"
        ) from error


def classifier_of(source: Source) -> Trained:
    """Reads the classifier of a data set for some of its examples.

    Args:
      source: a split of the data set.

    Returns:
      The classifier.

    Raises:
      UserError: it isn't trained yet, its file is damaged, or it learnt from another data set of
        that name or at another resolution.
    """
    source = source.whole
    data, split = source.name, source.split
    shape = source.schema.fields[domain_of(source.schema.domain).field].shape
    resized = at_side(source.name, shape[0])
    if find_classifier(resized) is not None:
        data = resized
    trained = read_classifier(data)
    _check_shape(data, trained.image, shape)
    was, now = trained.digests.get(split), source.digest()
    if was != now:
        said = "is not known to it" if was is None else f"had the digest {was[:12]}"
        raise UserError(
            f"the classifier of {data!r} learnt from other data: {data}:{split} {said}, and these "
            f"have {now[:12]}; train it again: {train_command(data)}"
        )
    return trained


def load_classifier(source: Source) -> FeatureNetwork:
    """Loads the classifier of a data set as a feature network.

    Args:
      source: a split of the data set.

    Returns:
      The network ``classifier-<data set>``: 128 features, after ReLU and averaged over the map.

    Raises:
      UserError: as `classifier_of` does.
    """
    return classifier_of(source).network


def _names(tree: Any) -> list[str]:
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    return ["/".join(str(key.key) for key in path) for path in paths]


def _flatten(variables: Variables) -> dict[str, np.ndarray]:
    # safetensors writes the memory as it lies, so it must lie in order.
    leaves = map(np.ascontiguousarray, jax.device_get(jax.tree.leaves(variables)))
    return dict(zip(_names(variables), leaves, strict=True))


def _unflatten(
    arrays: Mapping[str, np.ndarray], module: ResNet, domain: str, image: tuple[int, ...]
) -> Any:
    examples = jax.ShapeDtypeStruct((1, *image), jnp.int16)
    expected = jax.eval_shape(
        lambda x: module.init(jax.random.key(0), FRONTS[domain](x), False), examples
    )
    names, leaves = _names(expected), jax.tree.leaves(expected)
    shapes = {name: leaf.shape for name, leaf in zip(names, leaves, strict=True)}
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise ValueError("other arrays than the network's")
    return jax.tree.unflatten(jax.tree.structure(expected), [arrays[name] for name in names])
