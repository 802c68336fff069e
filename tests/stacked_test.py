"""Stacked MNIST: three digits are the colours of an image, and their modes are counted."""

import collections
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_process import refusal

from genjax.config import DataConfig
from genjax.data import sources, stacked
from genjax.data.bundled import image_source
from genjax.data.listing import list_datasets
from genjax.data.progress import no_progress
from genjax.data.standard import STANDARD
from genjax.errors import UserError
from genjax.evals.classifier import read_classifier
from genjax.evals.comparison import Comparison
from genjax.evals.metrics import compute_scores
from genjax.evals.stacked import measure_stacked

COUNT = 300


@pytest.fixture(scope="module")
def digits():
    """Rectangles that differ, with the label in a corner."""
    rng = np.random.default_rng(0)
    pixels = np.zeros((COUNT, 28, 28, 1), np.uint8)
    for image in pixels:
        top, left, height, width = rng.integers(2, 14, 4)
        image[top : top + height, left : left + width] = 255 - rng.integers(0, 60)
    labels = rng.integers(0, 10, COUNT, dtype=np.int32)
    pixels[:, 0, 0, 0] = labels
    return image_source(DataConfig("mnist"), pixels, labels, STANDARD["mnist"].schema, no_progress)


def stack(digits, split="train", **options):
    return stacked.stack(digits, DataConfig(stacked.NAME, split, **options), no_progress)


def test_images_are_three_digits_of_the_set(digits):
    made = stack(digits)
    assert (made.count, made.name, made.split) == (COUNT, "stacked_mnist", "train")
    assert made.schema == stacked.stacked_schema()
    images, labels = made.arrays["image"], made.arrays["label"]
    known = {image.tobytes() for image in digits.arrays["image"]}
    for image, label in zip(images, labels, strict=True):
        assert all(np.ascontiguousarray(image[..., c]).tobytes() in known for c in range(3))
        assert [int(word) for word in f"{label:03}"] == image[0, 0].tolist()
    # Channels are drawn apart, and with repetition.
    firsts = collections.Counter(image[..., 0].tobytes() for image in images)
    assert max(firsts.values()) > 1
    assert len(set(labels)) > 200


def test_the_same_images_are_drawn_every_time_and_others_for_each_split(digits):
    one, again, test = stack(digits), stack(digits), stack(digits, "test")
    assert one.digest() == again.digest() != test.digest()
    # NumPy keeps its streams.
    assert one.arrays["label"][:5].tolist() == [968, 701, 423, 691, 954]
    small = stack(digits, resolution=14)
    assert small.arrays["image"].shape == (COUNT, 14, 14, 3)
    assert small.schema.facts == {"stacked": "mnist"}


def test_what_is_no_set_of_digits_is_refused(digits):
    with pytest.raises(UserError, match="no set of grey digits"):
        stack(stack(digits))


def test_it_is_known_where_mnist_is(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    line = refusal("train", "--data.name", "stacked_mnist", "--out", tmp_path / "run")
    assert "'mnist' isn't prepared" in line
    [row] = [row for row in list_datasets(tmp_path) if row.name == "stacked_mnist"]
    assert (row.status, row.where) == ("missing", "genjax data prepare mnist")
    assert sources.known_schema("stacked_mnist").classes == 1000
    assert sources.whole_count("stacked_mnist", "train") == 60_000


def test_modes_are_counted_by_definition():
    rng = np.random.default_rng(1)
    digits = np.minimum(rng.geometric(0.3, (500, 3)), 10) - 1
    found = measure_stacked(digits)
    counts = collections.Counter(map(tuple, digits.tolist()))
    kl = sum(n / 500 * math.log(n / 500 * 1000) for n in counts.values())
    assert found.covered == len(counts)
    assert found.kl == pytest.approx(kl, rel=1e-12)
    every = np.indices((10, 10, 10)).reshape(3, -1).T
    assert measure_stacked(every) == (1000, 0.0)


@pytest.mark.full
def test_scores_are_of_each_channels_digit(digits):
    real, fake = stack(digits), stack(digits, "test")
    compared = Comparison(real, fake, None, None, chunk=128)
    scores = {score.name: score for score in compute_scores(compared, ["stacked"]).scores}
    judge = read_classifier("mnist").network
    channels = [np.asarray(fake.arrays["image"])[..., c, None] for c in range(3)]
    variables = jax.tree.map(jnp.asarray, judge.variables)
    logits = [judge.apply(variables, jnp.asarray(images)).logits for images in channels]
    answers = [np.asarray(of_channel).argmax(1) for of_channel in logits]
    wanted = measure_stacked(np.stack(answers, 1))
    assert wanted.covered > 3
    assert (scores["modes"].value, scores["mode_kl"].value) == wanted
    assert scores["modes"].parameters["classifier"] == f"classifier-mnist {judge.hash}"
    assert "papers take 26,000 samples" in scores["mode_kl"].warning
    # The classes of stacked digits are not those of a classifier of the set itself.
    assert "modes" not in compute_scores(compared).left_out


def test_other_sizes_and_other_data_have_no_such_score(digits):
    small = stack(digits, resolution=14)
    with pytest.raises(
        UserError, match=r"no classifier of 'mnist@14' yet; run: genjax .* --resolution 14"
    ):
        compute_scores(Comparison(small, small, None, None), ["stacked"])
    with pytest.raises(UserError, match="needs images of stacked digits"):
        compute_scores(Comparison(digits, digits, None, None), ["stacked"])
