"""Memorisation against scikit-learn's neighbours and SciPy's Mann-Whitney statistic."""

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from genjax.errors import UserError
from genjax.evals.memorization import memorization, nearest

RNG = np.random.default_rng(0)
# Whole numbers, so that some distances are equal.
TRAIN, HELD_OUT, SAMPLES = np.split(RNG.permutation(load_digits().data)[:1200], [500, 900])


def neighbours(train, queries):
    index = NearestNeighbors(n_neighbors=1, algorithm="kd_tree").fit(train)
    return (found[:, 0] for found in index.kneighbors(queries))


@pytest.mark.parametrize("offset", [0, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearest_against_scikit_learn(dtype, offset):
    noise = 1e-3 * RNG.normal(size=SAMPLES.shape)  # so that one is nearest
    train, queries = (TRAIN + offset).astype(dtype), (SAMPLES + noise + offset).astype(dtype)
    distance, index = nearest(train, queries)
    wanted, place = neighbours(train.astype(np.float64), queries.astype(np.float64))
    if dtype == np.float32 and offset:
        wanted_of_index = np.linalg.norm(queries.astype(float) - train[index].astype(float), axis=1)
        np.testing.assert_allclose(wanted_of_index, wanted, rtol=1e-12)
    else:
        np.testing.assert_array_equal(index, place)
    np.testing.assert_allclose(distance, wanted, rtol=1e-12)


def test_copies_and_their_near_relatives():
    train = RNG.normal(size=(500, 64))
    distance, index = nearest(train, train[::-1])
    assert not distance.any()
    np.testing.assert_array_equal(index, np.arange(500)[::-1])
    step = 1e-9 * np.eye(64)[0]
    np.testing.assert_allclose(nearest(train, train + step)[0], 1e-9, rtol=1e-6)


def test_the_nearest_in_clusters_far_apart():
    """Products lose all that is small beside the distance of clusters from each other."""
    centres = np.repeat([[0.0] * 4, [1e3] * 4], 100, axis=0)
    train, queries = np.float32(centres + 1e-4 * RNG.normal(size=(2, 200, 4)))
    squares = np.square(queries[:, None].astype(np.float64) - train).sum(axis=-1)
    distance, index = nearest(train, queries)
    np.testing.assert_allclose(distance, np.sqrt(squares.min(axis=1)), rtol=1e-12)
    np.testing.assert_array_equal(index, squares.argmin(axis=1))


@pytest.mark.parametrize("share_copied", [0, 0.4])
def test_share_against_scipy(share_copied):
    samples = SAMPLES.copy()
    copied = int(share_copied * len(samples))
    samples[:copied] = TRAIN[:copied]
    found = memorization(TRAIN, HELD_OUT, samples)
    to_held_out, _ = neighbours(TRAIN, HELD_OUT)
    to_samples, _ = neighbours(TRAIN, samples)
    # Squared, they are whole: ties stay ties.
    to_held_out, to_samples = (np.round(d**2) for d in (to_held_out, to_samples))
    assert len(np.intersect1d(to_held_out, to_samples))
    wanted = stats.mannwhitneyu(to_held_out, to_samples).statistic
    assert found.share == pytest.approx(wanted / to_held_out.size / to_samples.size, rel=1e-12)
    np.testing.assert_allclose(found.distance**2, np.sort(to_samples), atol=1e-9)
    if not share_copied:
        assert found.share == pytest.approx(0.5, abs=0.06)


def test_the_closest_come_first():
    samples = SAMPLES.copy()
    samples[7], samples[3] = TRAIN[11], TRAIN[20] + 0.125
    found = memorization(TRAIN, HELD_OUT, samples)
    assert found.sample_index[:2].tolist() == [7, 3]
    assert found.train_index[:2].tolist() == [11, 20]
    np.testing.assert_allclose(found.distance[:2], [0, 1])
    assert sorted(found.sample_index) == list(range(len(samples)))
    pairs = samples[found.sample_index] - TRAIN[found.train_index]
    np.testing.assert_allclose(np.linalg.norm(pairs, axis=1), found.distance)


def test_extremes():
    assert memorization(TRAIN, HELD_OUT, TRAIN[:300]).share == 1
    assert memorization(TRAIN, HELD_OUT, SAMPLES + 1000).share == 0
    assert memorization(TRAIN, TRAIN[:400], TRAIN[:300]).share == 0.5


def test_features_must_be_finite():
    for broken, name in enumerate(("training", "held-out", "sample")):
        sets = [TRAIN, HELD_OUT, SAMPLES]
        sets[broken] = np.where(np.arange(64) == 3, np.nan, sets[broken])
        with pytest.raises(UserError, match=f"{name} features"):
            memorization(*sets)
