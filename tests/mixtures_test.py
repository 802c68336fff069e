"""Mixtures of Gaussians: the points, the modes that samples cover, and the picture of a density."""

import dataclasses
import io
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from specs import stand_in

from genjax.config import MLP, DataConfig, EvalConfig
from genjax.data import sources
from genjax.data.listing import list_datasets
from genjax.data.mixtures import MIXTURES, SPLITS, Modes, draw_mixture
from genjax.domains.domain import Layout
from genjax.domains.image import IMAGE
from genjax.domains.points import POINTS, density_picture, render_points
from genjax.domains.previews import save_previews
from genjax.errors import UserError
from genjax.evals.modes import measure_modes
from genjax.evals.training import make_scorer
from genjax.families.registry import with_stored
from genjax.run.loop import train
from genjax.run.sampling import make_sampler, sample_run

NAMES = pytest.mark.parametrize("name", MIXTURES)
SCALES = {"gaussians-8": 2.5, "gaussians-25": 5.0}
# Of a Gaussian in the plane, within three standard deviations.
WITHIN = 1 - math.exp(-9 / 2)


def plane(points):
    return points.reshape(len(points), 2).astype(np.float64)


def test_ring():
    centres, std = MIXTURES["gaussians-8"]
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1) * 2.5, 2)
    steps = np.linalg.norm(centres - np.roll(centres, 1, axis=0), axis=1) * 2.5
    np.testing.assert_allclose(steps, 2 * 2 * math.sin(math.pi / 8))
    assert std * 2.5 == pytest.approx(0.02)


def test_grid():
    centres, std = MIXTURES["gaussians-25"]
    axis = (-4, -2, 0, 2, 4)
    assert {tuple(centre) for centre in np.rint(centres * 5)} == {
        (x, y) for x in axis for y in axis
    }
    np.testing.assert_allclose(centres * 5, np.rint(centres * 5), atol=1e-12)
    assert std * 5 == pytest.approx(0.05)


@NAMES
@pytest.mark.parametrize("split", SPLITS)
def test_points_follow_the_definition(name, split):
    data = sources.load(DataConfig(name, split=split))
    assert data.schema.facts == {"mixture": name}
    centres, std = MIXTURES[name]
    count, modes = SPLITS[split], len(centres)
    assert data.arrays["point"].shape == (count, 2)
    assert data.arrays["point"].dtype == np.float32
    assert data.arrays["label"].dtype == np.int32
    assert data.schema.classes == modes
    assert np.abs(data.arrays["point"]).max() < 1
    assert np.bincount(data.arrays["label"]).tolist() == [count // modes] * modes
    # Shuffled: the labels do not simply repeat.
    assert np.mean(data.arrays["label"][:-modes] == data.arrays["label"][modes:]) == pytest.approx(
        1 / modes, abs=0.03
    )

    noise = (plane(data.arrays["point"]) - centres[data.arrays["label"]]) / std
    for mode in range(modes):
        own = noise[data.arrays["label"] == mode]
        # Four standard errors of a mean, of a variance and of a covariance.
        error = 4 / math.sqrt(len(own))
        np.testing.assert_allclose(own.mean(axis=0), 0, atol=error)
        np.testing.assert_allclose(np.cov(own.T), np.eye(2), atol=error * math.sqrt(2))
    # Skewness and kurtosis of a Gaussian.
    assert np.mean(noise**3) == pytest.approx(0, abs=4 * math.sqrt(15 / noise.size))
    assert np.mean(noise**4) == pytest.approx(3, abs=4 * math.sqrt(96 / noise.size))


@NAMES
def test_a_split_is_always_the_same_and_no_other(name):
    (points, labels), (again, labels_again) = (draw_mixture(name, "test") for _ in range(2))
    np.testing.assert_array_equal(points, again)
    np.testing.assert_array_equal(labels, labels_again)
    train, train_labels = draw_mixture(name, "train")
    assert not np.array_equal(labels, train_labels[: len(labels)])
    assert not {point.tobytes() for point in points} & {point.tobytes() for point in train}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 8}, "data.resolution is 8, but 'gaussians-8' holds points"),
        ({"flip": True}, "data.flip is True, but 'gaussians-8' holds points, not images"),
        ({"split": "tset"}, "unknown split of gaussians-8 'tset'; did you mean 'test'"),
    ],
)
def test_what_does_not_suit_points_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        sources.load(DataConfig("gaussians-8", **options))


def test_a_misspelt_mixture_is_suggested(tmp_path):
    with pytest.raises(UserError, match="did you mean 'gaussians-25'"):
        sources.load(DataConfig("gaussian-25", directory=str(tmp_path)))


@NAMES
def test_list(name, tmp_path):
    (row,) = [row for row in list_datasets(tmp_path) if row.name == name]
    assert (row.status, row.where) == ("embedded", "genjax")
    assert row.splits == {"train": 100_000, "test": 10_000}


@NAMES
def test_the_data_covers_its_own_modes(name):
    points, _ = draw_mixture(name, "train")
    covered, high_quality = measure_modes(plane(points), MIXTURES[name])
    assert covered == len(MIXTURES[name].centres)
    # Four standard errors of a share.
    error = 4 * math.sqrt(WITHIN * (1 - WITHIN) / len(points))
    assert high_quality == pytest.approx(WITHIN, abs=error)


def count_by_hand(points, modes):
    good, covered = 0, set()
    for x, y in points:
        nearest, best = -1, math.inf
        for number, (a, b) in enumerate(modes.centres):
            distance = math.hypot(x - a, y - b)
            if distance < best:
                nearest, best = number, distance
        if best <= 3 * modes.std:
            good += 1
            covered.add(nearest)
    return len(covered), good / len(points)


@pytest.mark.parametrize("seed", range(5))
def test_modes_against_a_double_loop(seed):
    generator = np.random.default_rng(seed)
    # Wide enough that neighbouring modes overlap and some are missed.
    modes = Modes(generator.uniform(-1, 1, (30, 2)), 0.08)
    points = generator.uniform(-1, 1, (40, 2)) * generator.uniform(0.3, 1)
    result = measure_modes(points, modes)
    assert result == pytest.approx(count_by_hand(points, modes))
    assert 0 < result.high_quality < 1
    assert 0 < result.covered < 30


def test_modes_by_hand():
    modes = Modes(np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]]), 0.01)
    # Euclidean: three standard deviations along both axes at once are too far.
    corner = 0.029
    points = np.array([[corner, 0], [corner, corner], [0.5, -corner], [0.031, 0], [9, 9]])
    assert measure_modes(points, modes) == (2, 2 / 5)
    assert measure_modes(points[:2], modes) == (1, 1 / 2)
    assert measure_modes(points[3:], modes) == (0, 0)
    assert measure_modes(modes.centres, modes) == (3, 1)
    assert measure_modes(np.array([[np.nan, 0], [np.inf, 0], [0, 0]]), modes) == (1, 1 / 3)


def test_one_mode_only():
    modes = MIXTURES["gaussians-25"]
    points = modes.centres[7] + modes.std * np.random.default_rng(0).standard_normal((2000, 2))
    covered, high_quality = measure_modes(points, modes)
    assert covered == 1
    assert high_quality == pytest.approx(WITHIN, abs=0.01)


def test_scores_rank_by_modes_then_by_quality():
    data = sources.load(DataConfig("gaussians-8", split="test"))
    perfect = MIXTURES["gaussians-8"].centres.astype(np.float32)
    far = np.full((1, 2), 0.99, np.float32)

    score_samples = make_scorer(EvalConfig(), data, "point", 0)

    score, metrics = score_samples(perfect)
    assert score == 0
    assert metrics.pop("evaluation/diversity") == pytest.approx(1, rel=0.2)
    assert metrics == {"evaluation/modes_covered": 8, "evaluation/high_quality": 1}
    stray, metrics = score_samples(np.concatenate([perfect, far]))
    assert stray == pytest.approx(1 / 9)
    assert metrics["evaluation/high_quality"] == pytest.approx(8 / 9)
    lost, metrics = score_samples(perfect[:-2])
    assert lost == 2
    assert metrics["evaluation/modes_covered"] == 6
    alone, metrics = score_samples(np.repeat(far, 5, axis=0))
    assert alone == 9
    assert metrics["evaluation/diversity"] == 0
    # Logs are JSON, which knows no NumPy.
    json.dumps([lost, metrics])


def test_images_are_scored_by_their_pixels():
    data = sources.load(DataConfig("digits", split="test"))
    score_samples = make_scorer(EvalConfig(), data, "image", 0)
    score, metrics = score_samples(data.arrays["image"])
    assert score == pytest.approx(0, abs=1e-6)
    assert metrics.pop("evaluation/diversity") == pytest.approx(1)
    assert metrics == {"evaluation/pixel_frechet": score}
    _, metrics = score_samples(data.arrays["image"] // 2)
    assert metrics["evaluation/diversity"] == pytest.approx(0.25, 0.1)


def sampling(shape):
    """An algorithm whose sample number i is i / 1024 everywhere; its step keeps its batch."""

    def sample(state, key, index, condition):
        places = index.reshape(-1, *[1] * len(shape))
        return jnp.broadcast_to(places / 1024, (len(index), *shape))

    return stand_in(lambda state, batch: (batch["image"], {}), sample, shape=shape, examples=4)


def test_the_sampler_rounds_images_but_not_points():
    key = jax.random.key(0)
    points = make_sampler(sampling((2,)), POINTS)(None, key, 300, {})
    assert points.dtype == np.float32
    assert points.shape == (300, 2)
    np.testing.assert_array_equal(points[:, 1], np.arange(300, dtype=np.float32) / 1024)
    images = make_sampler(sampling((1, 1, 1)), IMAGE)(None, key, 3, {})
    assert images.dtype == np.uint8


def test_the_step_scales_images_but_not_points():
    points = np.array([[-0.5, 0.25]], np.float32)
    step = jax.jit(with_stored(sampling((2,)), POINTS, (), None).step)
    np.testing.assert_array_equal(step(None, {"image": points})[0], points)
    images = np.array([0, 255], np.uint8).reshape(1, 1, 2, 1)
    step = jax.jit(with_stored(sampling((1, 2, 1)), IMAGE, (), None).step)
    np.testing.assert_array_equal(step(None, {"image": images})[0].ravel(), [-1, 1])


def test_picture_of_a_density():
    # One cell thrice, one once, on the upper right and lower left; the last point is outside.
    points = np.array([[0.5, 0.75]] * 3 + [[-0.999, -0.999], [1.5, 0]])
    picture = density_picture(points)
    assert picture.shape == (512, 512, 1)
    bright, dim = 255, round(255 * math.log(2) / math.log(4))
    rows, columns, _ = np.nonzero(picture == bright)
    assert (rows.min(), rows.max()) == (62, 63)
    assert (columns.min(), columns.max()) == (384, 385)
    rows, columns, _ = np.nonzero(picture == dim)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (510, 511, 0, 1)
    assert np.count_nonzero(picture) == 8
    assert not density_picture(np.full((3, 2), np.nan)).any()


@NAMES
def test_picture_file_shows_every_mode(name, tmp_path):
    points, _ = draw_mixture(name, "test")
    save_previews(tmp_path / "points", render_points(points, {}, Layout()))
    assert [path.name for path in tmp_path.iterdir()] == ["points.png"]
    picture = np.asarray(Image.open(tmp_path / "points.png"))
    np.testing.assert_array_equal(picture, density_picture(plane(points))[..., 0])
    for x, y in MIXTURES[name].centres:
        assert picture[int((1 - y) * 256), int((1 + x) * 256)] > 128
    # Between the modes nothing.
    assert np.count_nonzero(picture) < 0.1 * picture.size


def test_a_run_on_points(small_experiment, tmp_path):
    network = MLP(width=16)
    model = dataclasses.replace(small_experiment.model, generator=network, discriminator=network)
    data = DataConfig("gaussians-8")
    experiment = dataclasses.replace(small_experiment, data=data, model=model)
    run = tmp_path / "run"
    train(experiment, run, sources.load(data), Console(file=io.StringIO()))

    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    scored = [row for row in rows if "evaluation/modes_covered" in row]
    assert [row["step"] for row in scored] == [2, 4, 6]
    assert all(0 <= row["evaluation/high_quality"] <= 1 for row in scored)
    assert not any("evaluation/pixel_frechet" in row for row in rows)

    drawn = sample_run(run, 1, "last", 10_000)
    samples = drawn.samples
    assert drawn.step == 6
    assert samples.shape == (10_000, 2)
    assert samples.dtype == np.float32
    assert len(np.unique(samples)) > 10_000
    pictures = sorted((run / "samples").iterdir())
    assert [picture.name for picture in pictures] == ["step_00000003.png", "step_00000006.png"]
    assert Image.open(pictures[0]).size == (512, 512)
