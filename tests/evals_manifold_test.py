"""Precision, recall, density and coverage against the package of the latter two's authors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from genjax.errors import UserError
from genjax.evals import manifold
from genjax.evals.manifold import Manifold, nearest_radii, prdc
from genjax.evals.precision import float64

RNG = np.random.default_rng(0)
DIGITS = load_digits().data
# Points of a small lattice, many of them copies, at distances that are often equal.
LATTICE = np.pad(RNG.integers(0, 3, (510, 4)), ((0, 0), (0, 60))).astype(np.float64)
CASES = {
    "random": (RNG.normal(size=(300, 64)), RNG.normal(0.02, 0.95, (210, 64))),
    "float32": (
        RNG.normal(size=(300, 64)).astype(np.float32),
        np.float32(RNG.normal(size=(210, 64))),
    ),
    "digits": (DIGITS[:300], DIGITS[-210:]),
    "copies within": (LATTICE[:300], LATTICE[300:]),
    "copies across": (DIGITS[:300], np.concatenate([DIGITS[:100], DIGITS[800:910]])),
    "identical": (DIGITS[:300], DIGITS[:300]),
    "constant": (np.full((300, 64), 0.5), np.full((210, 64), 0.5)),
    "fewer samples than dimensions": (RNG.normal(size=(30, 64)), RNG.normal(size=(20, 64))),
}


@pytest.fixture(scope="module")
def theirs():
    return pytest.importorskip("prdc", reason="needs the extra genjax-models[parity]").compute_prdc


@pytest.mark.parametrize("neighbours", [3, 5])
@pytest.mark.parametrize("case", CASES)
def test_against_the_package(theirs, case, neighbours):
    real, fake = CASES[case]
    found = prdc(real, fake, neighbours)
    wanted = theirs(real.astype(np.float64), fake.astype(np.float64), neighbours)
    assert found._asdict() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_radii_are_scikit_learns(case):
    features = CASES[case][0].astype(np.float64)
    # Asked without points, it leaves each one out of its own neighbours.
    index = NearestNeighbors(n_neighbors=3, algorithm="kd_tree").fit(features)
    wanted = index.kneighbors()[0][:, -1]
    np.testing.assert_allclose(nearest_radii(features, 3), wanted, rtol=1e-12)


def test_what_agrees_and_what_does_not():
    real, fake = CASES["random"]
    assert prdc(real, real) == Manifold(1, 1, 1, 1)
    assert prdc(*CASES["constant"]) == Manifold(0, 0, 0, 0)
    assert prdc(real, fake + 100) == Manifold(0, 0, 0, 0)
    collapsed = np.repeat(real[:1], 210, axis=0) + 1e-3 * RNG.normal(size=(210, 64))
    found = prdc(real, collapsed)
    assert found.precision == 1
    assert max(found.recall, found.coverage) < 0.3


def test_a_common_offset_changes_nothing():
    real, fake = (np.round(x * 2**20) / 2**20 for x in CASES["random"])
    assert prdc(real + 2**20, fake + 2**20) == prdc(real, fake)


def test_copies_have_no_neighbourhood_whatever_their_digits():
    real = np.repeat(RNG.normal(size=(50, 64)), 6, axis=0)
    assert not nearest_radii(real, 5).any()
    assert prdc(real, real[:210], 5).precision == 0


def by_differences(real, fake, neighbours):
    """All four scores from NumPy's differences, in float64."""
    real, fake = real.astype(np.float64), fake.astype(np.float64)

    def distances(a, b):
        return np.sqrt(np.square(a[:, None] - b).sum(axis=-1))

    def radii(x):
        others = distances(x, x)
        np.fill_diagonal(others, np.inf)
        return np.sort(others, axis=1)[:, neighbours - 1]

    across, near, far = distances(real, fake), radii(real), radii(fake)
    inside = across < near[:, None]
    return Manifold(
        inside.any(axis=0).mean(),
        (across < far).any(axis=1).mean(),
        inside.sum(axis=0).mean() / neighbours,
        inside.any(axis=1).mean(),
    )


@pytest.mark.parametrize("clusters", [2, 40])
def test_clusters_far_apart_are_as_exact_as_one(clusters):
    """Products lose all that is small beside the distance of clusters from each other."""
    rng = np.random.default_rng(3)
    centres = 1e3 * rng.normal(size=(clusters, 8))
    real, fake = (
        np.float32(centres[np.arange(300) % clusters] + 1e-4 * rng.normal(size=(300, 8)))
        for _ in range(2)
    )
    fake[:20] = real[:20]
    found, wanted = prdc(real, fake, 3), by_differences(real, fake, 3)
    assert 0 < wanted.precision < 1
    assert found == pytest.approx(wanted, rel=1e-12)


def test_known_radii_are_used():
    real, fake = CASES["random"]
    radii = nearest_radii(real, 5)
    assert prdc(real, fake, 5, radii) == prdc(real, fake, 5)
    assert prdc(real, fake, 5, 0 * radii).precision == 0


def test_all_distances_are_never_there_at_once():
    n, d = 50_000, 8
    with float64():
        points, radii = (jax.ShapeDtypeStruct(s, jnp.float64) for s in ((n, d), (n,)))
        for lowered in (
            manifold._compare.lower(points, points, radii, radii),
            manifold._radii.lower(points, jnp.int64(5)),
        ):
            memory = lowered.compile().memory_analysis()
            assert memory.temp_size_in_bytes < n * n * 8 / 50


@pytest.mark.parametrize("neighbours", [0, 20, 25])
def test_neighbours_that_are_not_there(neighbours):
    real, fake = CASES["fewer samples than dimensions"]
    with pytest.raises(
        UserError, match=rf"neighbours is {neighbours}; of .* images an image has 1"
    ):
        prdc(real, fake, neighbours)
    with pytest.raises(UserError, match=f"neighbours is {neighbours}; of 20 images an image has"):
        nearest_radii(fake, neighbours)


def test_features_must_be_finite():
    real, fake = CASES["random"]
    fake = fake.copy()
    fake[3, 1] = np.inf
    with pytest.raises(UserError, match="1 of 210 fake features"):
        prdc(real, fake)
