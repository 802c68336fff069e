"""The Frechet distance against pytorch-fid, and against singular values, which are exact where
there are fewer samples than dimensions."""

import inspect

import numpy as np
import pytest
import scipy.linalg
from sklearn.datasets import load_digits

from genjax.errors import UserError
from genjax.evals.frechet import (
    Moments,
    covariance,
    empty_moments,
    frechet_distance,
    measure_moments,
    rank_deficient,
    update_moments,
)

DIGITS = load_digits().data.astype(np.float32)
LABELS = load_digits().target
RNG = np.random.default_rng(0)


def draw(rows, size=64):
    """Correlated features of float32."""
    mixing = np.eye(size) + 0.3 * RNG.normal(size=(size, size))
    return (RNG.normal(size=(rows, size)) @ mixing + RNG.normal(size=size)).astype(np.float32)


def by_singular_values(a, b):
    """With C = A A^T, ``tr (C_a C_b)^1/2`` is the sum of the singular values of ``A^T B``."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    roots = [(x - x.mean(0)).T / np.sqrt(len(x) - 1) for x in (a, b)]
    singular = scipy.linalg.svd(roots[0].T @ roots[1], compute_uv=False)
    traces = sum(np.sum(root**2) for root in roots)
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + traces - 2 * singular.sum()


@pytest.fixture(scope="module")
def theirs(torchvision):
    """pytorch-fid's distance of two sets of features."""
    if "disp" not in inspect.signature(scipy.linalg.sqrtm).parameters:
        pytest.skip("this pytorch-fid does not run with this SciPy")
    module = pytest.importorskip(
        "pytorch_fid.fid_score", reason="needs the extra genjax-models[parity]"
    )

    def distance(a, b):
        a, b = (x.astype(np.float64) for x in (a, b))
        statistics = a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T)
        return module.calculate_frechet_distance(*statistics)

    return distance


# The features, how near pytorch-fid comes, whose root of a singular product is noisy, and how near
# the singular values, against which only sets that span less than their numbers are noisy.
CASES = {
    "random": (draw(250), draw(200), 1e-9, 1e-11),
    "digits": (DIGITS[:250], DIGITS[-200:], 1e-6, 1e-7),
    "zeros and fives": (DIGITS[LABELS == 0], DIGITS[LABELS == 5], 1e-6, 1e-7),
    "fewer samples than dimensions": (draw(40), draw(30), 1e-6, 1e-13),
    "fewer samples of one": (draw(250), draw(30), 1e-6, 1e-13),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_against_pytorch_fid(theirs, case):
    a, b, tolerance, _ = CASES[case]
    distance = frechet_distance(measure_moments(a), measure_moments(b))
    np.testing.assert_allclose(distance, theirs(a, b), rtol=tolerance)


@pytest.mark.smoke
@pytest.mark.parametrize("case", CASES)
def test_against_singular_values(case):
    a, b, _, tolerance = CASES[case]
    for x, y in ((a, b), (b, a)):
        distance = frechet_distance(measure_moments(x), measure_moments(y))
        np.testing.assert_allclose(distance, by_singular_values(x, y), rtol=tolerance)


@pytest.mark.filterwarnings("ignore")
def test_constant_features_are_apart_by_their_means(theirs):
    a, b = np.full((50, 64), 3, np.float32), np.full((40, 64), 1.5, np.float32)
    distance = frechet_distance(measure_moments(a), measure_moments(b))
    assert distance == theirs(a, b) == 64 * 1.5**2


@pytest.mark.parametrize("rows", [30, 64, 65, 250])
def test_identical_sets_are_at_no_distance(rows):
    for _ in range(10):
        moments = measure_moments(draw(rows))
        trace = np.trace(covariance(moments))
        assert 0 <= frechet_distance(moments, moments) < 1e-8 * trace


def test_diagonal_gaussians_have_a_closed_form():
    a, b = (
        Moments(65, np.full(64, mean), np.diag(64 * np.resize(variances, 64)))
        for mean, variances in ((0.0, [1.0, 4.0, 0.0, 25.0]), (1.0, [9.0, 4.0, 2.0, 16.0]))
    )
    wanted = 64 + 16 * ((1 - 3) ** 2 + 2 + (5 - 4) ** 2)
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("chunks", [[1000], [1, 999], [500, 0, 500], [2, 30, 32, 60] * 8 + [8]])
def test_moments_do_not_depend_on_chunks(chunks):
    """With an offset of ten thousand standard deviations."""
    features = np.random.default_rng(3).normal(1e4, 1, (1000, 5))
    moments = empty_moments(5)
    for chunk in np.split(features, np.cumsum(chunks))[: len(chunks)]:
        moments = update_moments(moments, chunk)
    centred = features - 1e4
    wanted = np.cov(centred.T)
    assert moments.count == 1000
    np.testing.assert_allclose(moments.mean, centred.mean(0) + 1e4, rtol=1e-15)
    np.testing.assert_allclose(covariance(moments), wanted, atol=1e-12 * wanted.max(), rtol=0)


def test_measuring_is_updating():
    features = draw(100, 5)
    whole, parts = measure_moments(features), measure_moments(features, chunk=30)
    np.testing.assert_allclose(parts.scatter, whole.scatter, atol=1e-12 * whole.scatter.max())
    assert parts.count == whole.count == 100


@pytest.mark.parametrize(("rows", "deficient"), [(5, True), (6, False)])
def test_rank_deficient_where_rows_cannot_span(rows, deficient):
    moments = measure_moments(draw(rows, 5))
    assert rank_deficient(moments) == deficient
    assert (np.linalg.matrix_rank(covariance(moments)) < 5) == deficient


def test_nan_is_not_hidden():
    features = draw(40, 5)
    moments = measure_moments(features)
    features[7, 2] = np.nan
    assert np.isnan(frechet_distance(moments, measure_moments(features)))


def test_what_cannot_be_compared():
    moments = measure_moments(draw(40, 5))
    with pytest.raises(UserError, match="5 and 6 numbers"):
        frechet_distance(moments, measure_moments(draw(40, 6)))
    with pytest.raises(UserError, match="1 image"):
        frechet_distance(moments, measure_moments(draw(1, 5)))
