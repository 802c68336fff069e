"""Conditions that are made of images: the same in a step and on the host, and where they appear."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from specs import stand_in

from genjax.config import DataConfig, DiffusionConfig, DiT, Experiment, GANConfig, VAEConfig
from genjax.core.schema import Field, Schema
from genjax.data.memory import in_memory
from genjax.data.noise import noise
from genjax.data.schema import image_schema
from genjax.data.sources import known_schema
from genjax.domains import domain_of
from genjax.domains.derivations import shown
from genjax.errors import UserError
from genjax.families.registry import make_algorithm, make_spec, with_stored
from genjax.run.conditions import conditions_as_in, conditions_of_rows, order_in
from genjax.run.sampling import make_previewer

SCHEMA = image_schema((8, 8, 3), 2)
MODEL = DiffusionConfig(network=DiT(patch=4, width=8, depth=1, heads=2), conditional=True)


def experiment(model=MODEL, **data):
    data = {"derive": ("downsample:2",), **data}
    return Experiment("x", DataConfig("x", **data), model, batch_size=4)


def averaged(stored, factor=2):
    """Means of squares, in [-1, 1], in float64."""
    count, height, width, channels = stored.shape
    pixels = stored / 127.5 - 1
    rows = pixels.reshape(count, height // factor, factor, width, channels).mean(2)
    return rows.reshape(count, height // factor, width // factor, factor, channels).mean(3)


@pytest.fixture(scope="module")
def source():
    return in_memory("x", "train", SCHEMA, noise(SCHEMA, 20))


def test_what_is_derived_in_a_step_is_that_of_the_flipped_image(source):
    """Of what learns and of what does not, and as the host makes it."""
    spec = make_spec(experiment(), SCHEMA)
    seen = {}

    def step(state, batch):
        seen["step"] = batch
        return state, {}

    def evaluate(state, batch, key):
        seen["evaluate"] = batch
        return {}

    plain = stand_in(step)._replace(spec=spec, evaluate=evaluate)
    algorithm = with_stored(plain, domain_of("image"), ("flip",), None)
    batch = source.read(np.arange(20))
    algorithm.step(SimpleNamespace(key=jax.random.key(0), step=0), batch)
    algorithm.evaluate(None, batch, None)
    on_host = conditions_of_rows(spec, source, np.arange(20))["downsample"]
    assert on_host.dtype == np.float32
    np.testing.assert_allclose(seen["evaluate"]["downsample"], on_host, atol=1e-6)
    np.testing.assert_allclose(on_host, averaged(batch["image"]), atol=1e-6)
    flipped = np.round((np.asarray(seen["step"]["image"]) + 1) * 127.5)
    moved = (flipped != batch["image"]).any((1, 2, 3))
    assert 0 < moved.sum() < 20
    np.testing.assert_allclose(seen["step"]["downsample"], averaged(flipped), atol=1e-6)


def test_what_is_given():
    spec = make_spec(experiment(), SCHEMA)
    assert spec.given == ("label", "downsample")
    assert spec.derived == ("downsample",)
    assert spec.fields["downsample"] == Field((4, 4, 3), "float32")
    assert make_spec(experiment(given=("downsample",)), SCHEMA).given == ("downsample",)
    assert make_spec(experiment(derive=()), SCHEMA).given == ("label",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"derive": ("blurred:2",)}, "unknown condition in data.derive 'blurred'; choices: downs"),
        ({"derive": ("downsample:3",)}, "'downsample:3', which must name a factor of images of 8"),
        ({"derive": ("downsample",)}, r"'downsample:', which must .*; choices: 2, 4, 8"),
        ({"derive": ("downsample:1",)}, "'downsample:1', which must name a factor"),
        ({"derive": ("downsample:" + "2" * 5000,)}, "'downsample:2+', which must name a factor"),
        ({"derive": ("downsample:2", "downsample:4")}, "has two conditions 'downsample'"),
        ({"given": ("label",)}, "makes 'downsample', which data.given leaves out"),
        ({"given": ("edges",)}, "unknown field of x 'edges'; choices: downsample, image, label"),
    ],
)
def test_what_can_not_be_derived(data, message):
    with pytest.raises(UserError, match=message):
        make_spec(experiment(**data), SCHEMA)


def test_who_takes_nothing_that_is_derived():
    plain = dataclasses.replace(MODEL, conditional=False)
    for model in (plain, GANConfig(), VAEConfig(conditional=True)):
        with pytest.raises(UserError, match="makes 'downsample', from which this model generates"):
            make_algorithm(experiment(model), image_schema((32, 32, 3), 2))
    with pytest.raises(UserError, match="derive is downsample:2, but it is for images"):
        make_spec(experiment(), known_schema("gaussians-8"))
    fields = {**SCHEMA.fields, "downsample": Field((), "int32", 2)}
    with pytest.raises(UserError, match="'downsample', which is a field of the data already"):
        make_spec(experiment(), Schema("image", fields))


def test_conditions_are_those_of_examples_with_their_labels(source):
    spec = make_spec(experiment(), SCHEMA)
    found = conditions_as_in(spec, source, 50)
    rows = order_in(source, 50)
    assert sorted(rows[:20]) == list(range(20)) != rows[:20].tolist()
    assert tuple(found) == ("label", "downsample")
    np.testing.assert_array_equal(found["label"], source.arrays["label"][rows])
    images = source.read(rows)["image"]
    np.testing.assert_allclose(found["downsample"], averaged(images), atol=1e-6)
    few = conditions_as_in(spec, source, 3)
    np.testing.assert_array_equal(few["downsample"], found["downsample"][:3])


def test_a_preview_has_what_is_given_and_the_images_above_the_samples(source):
    spec = make_spec(experiment(), SCHEMA)
    asked = []

    def sampler(state, key, count, condition):
        asked.append(condition)
        return np.zeros((count, 8, 8, 3), np.uint8)

    (picture,) = make_previewer(stand_in(None)._replace(spec=spec), sampler, source)(None, None)
    images = source.read(np.arange(16))["image"]
    np.testing.assert_allclose(asked[0]["downsample"], averaged(images), atol=1e-6)
    assert len(asked[0]["label"]) == 16
    # Three rows of tiles of 56 pixels, each in a frame of its own.
    height, width, _ = picture.pixels.shape
    assert (height, width) == (3 * (56 + 2 + 2), 16 * 58 + 2)
    above, middle, below = np.split(picture.pixels, 3)
    np.testing.assert_array_equal(middle[2:-2:7, 2:58:7], images[0])
    small = shown(asked[0]["downsample"], (8, 8, 3))
    np.testing.assert_array_equal(above[2:-2:7, 2:58:7], small[0])
    assert (below[2:-2, 2:58] == 0).all()


def test_a_map_is_shown_as_large_as_the_image():
    maps = np.float32([[[[-1], [1]], [[0], [0.5]]]])
    pixels = shown(maps, (4, 4, 3))
    assert pixels.shape == (1, 4, 4, 3)
    wanted = np.repeat(np.repeat([[0, 255], [128, 191]], 2, 0), 2, 1)
    np.testing.assert_array_equal(pixels[0, ..., 1], wanted)
