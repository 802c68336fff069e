"""A conditional DCGAN on MNIST: does it draw the digit it is asked for?

Command:   python experiments/cgan_mnist.py
Needs:     MNIST (`genjax data prepare mnist`), two CPU cores, 20 minutes
Writes:    runs/experiments/cgan_mnist, the folder of the run; a second call only measures it

The preset cgan-mnist (labels beside z in G, projection and spectral norm in D), seed 0, for 2,000
steps, 4.3 epochs. A convolutional classifier learns MNIST's training images for five epochs and
then names the digit in 500 samples of each class. Measured on 2026-11-24, on two cores of an AMD
EPYC that were also running other work, jax 0.10.2:

    test images that the classifier names rightly   98.41 %
    samples that it names as they were asked for    97.38 % (fewest for 7: 94.6 %)
"""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console

from genjax.algorithm import scale_images
from genjax.config import DataConfig, NetworkConfig
from genjax.data.order import batch_indices
from genjax.data.sources import Dataset, load
from genjax.loop import train
from genjax.nn.layers import Layers
from genjax.nn.networks import make_encoder
from genjax.presets import preset
from genjax.sampling import sample_run

DIRECTORY = Path("runs/experiments/cgan_mnist")
EXPERIMENT = dataclasses.replace(
    preset("cgan-mnist"), steps=2000, sample_every=500, checkpoint_every=500
)
PER_CLASS = 500


class Classifier(nn.Module):
    """DCGAN's encoder with ten logits."""

    encoder: Any

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        return nn.Dense(10)(self.encoder(images, True))


def fit_classifier(data: Dataset, epochs: int = 5, batch: int = 128) -> Any:
    """Trains a classifier; returns a function from uint8 images to labels."""
    assert data.labels is not None
    model = Classifier(make_encoder(NetworkConfig("dcgan", width=16), Layers(), "classifier"))
    params = model.init(jax.random.key(0), jnp.zeros((1, *data.images.shape[1:])))
    optimizer = optax.adam(1e-3)
    opt = optimizer.init(params)

    @jax.jit
    def step(params: Any, opt: Any, images: jax.Array, labels: jax.Array) -> tuple[Any, Any]:
        def loss(params: Any) -> jax.Array:
            logits = model.apply(params, scale_images(images))
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        updates, opt = optimizer.update(jax.grad(loss)(params), opt)
        return optax.apply_updates(params, updates), opt

    for number in range(epochs * len(data.images) // batch):
        index = batch_indices(number, batch, len(data.images), seed=0)
        params, opt = step(params, opt, data.images[index], data.labels[index])
    predict = jax.jit(lambda x: model.apply(params, scale_images(x)).argmax(-1))

    def classify(images: np.ndarray) -> np.ndarray:
        parts = [predict(images[start : start + 500]) for start in range(0, len(images), 500)]
        return np.concatenate([np.asarray(part) for part in parts])

    return classify


def main() -> None:
    """Trains, if the run isn't there, and measures."""
    console = Console()
    data = load(EXPERIMENT.data)
    if not DIRECTORY.exists():
        train(EXPERIMENT, DIRECTORY, data, console)
    classify = fit_classifier(data)
    test = load(DataConfig("mnist", split="test"))
    console.print(f"classifier on test images: {np.mean(classify(test.images) == test.labels):.4f}")
    drawn = sample_run(DIRECTORY, 0, "last", 0, per_class=PER_CLASS)
    right = classify(drawn.images) == drawn.labels
    console.print(f"samples of step {drawn.step} recognised: {right.mean():.4f}")
    for label, share in enumerate(right.reshape(10, PER_CLASS).mean(axis=1)):
        console.print(f"  {label}: {share:.3f}")


if __name__ == "__main__":
    main()
