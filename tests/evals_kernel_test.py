"""The kernel distance against torch-fidelity on the very subsets it draws, and scikit-learn."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics.pairwise import polynomial_kernel

from genjax.errors import UserError
from genjax.evals.kernel import kernel_distance, kernel_distance_of_subsets, polynomial_mmd

RNG = np.random.default_rng(0)
DIGITS = load_digits().data
CASES = {
    "random": (RNG.normal(size=(300, 64)), RNG.normal(0.1, 1.2, size=(250, 64))),
    "digits": (DIGITS[:300], DIGITS[-250:]),
    "fewer samples than dimensions": (
        np.float32(RNG.normal(size=(40, 64))),
        np.float32(RNG.normal(size=(35, 64)) ** 2),
    ),
}


def formula(x, y):
    def mean_of_others(kernel):
        return kernel[~np.eye(len(kernel), dtype=bool)].mean()

    x, y = x.astype(np.float64), y.astype(np.float64)
    xx, yy, xy = (
        polynomial_kernel(a, b, degree=3, gamma=1 / a.shape[1], coef0=1)
        for a, b in ((x, x), (y, y), (x, y))
    )
    return mean_of_others(xx) + mean_of_others(yy) - 2 * xy.mean()


@pytest.mark.parametrize("case", CASES)
def test_discrepancy_is_that_of_scikit_learns_kernels(case):
    x, y = CASES[case]
    np.testing.assert_allclose(polynomial_mmd(x, y), formula(x, y), rtol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_against_torch_fidelity(torchvision, case):
    torch = pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")
    theirs = pytest.importorskip(
        "torch_fidelity.metric_kid", reason="needs the extra genjax-models[parity]"
    )
    real, fake = CASES[case]
    subsets, size = 12, 30
    wanted = theirs.kid_features_to_metric(
        *(torch.tensor(x, dtype=torch.float64) for x in (real, fake)),
        kid_subsets=subsets,
        kid_subset_size=size,
        rng_seed=2020,
        verbose=False,
    )
    generator = np.random.RandomState(2020)
    draws = [
        [generator.choice(len(x), size, replace=False) for x in (real, fake)]
        for _ in range(subsets)
    ]
    found = kernel_distance_of_subsets(real, fake, *np.swapaxes(draws, 0, 1))
    mean, std = (wanted[f"kernel_inception_distance_{name}"] for name in ("mean", "std"))
    np.testing.assert_allclose(found.value, mean, rtol=1e-9)
    np.testing.assert_allclose(found.std, std, rtol=1e-9)
    np.testing.assert_allclose(found.standard_error, std / np.sqrt(subsets), rtol=1e-9)


def test_subsets_depend_on_the_seed_and_hold_no_image_twice():
    real, fake = CASES["random"]
    first, again, other = (kernel_distance(real, fake, seed, 12, 30) for seed in (1, 1, 2))
    assert first == again != other
    # A subset as large as both sets is both sets, in any order.
    x, y = CASES["fewer samples than dimensions"]
    whole = kernel_distance(x[:35], y, 0, subsets=3, size=1000)
    np.testing.assert_allclose(whole.value, formula(x[:35], y), rtol=1e-9)
    # Its spread would be 0, and over one set alone too small, whatever the distance's error is.
    assert (whole.std, whole.standard_error) == (None, None)
    for real, fake in ((x, y), (y, x)):
        assert kernel_distance(real, fake, 0, subsets=3, size=1000)[1:] == (None, None)
    assert kernel_distance(x, y, 0, subsets=3, size=34).standard_error > 0


def test_unbiased():
    """Over independent draws from one distribution the mean is 0, whatever their number."""
    x, y = RNG.normal(size=(2, 4000, 3))
    values = kernel_distance_of_subsets(
        x, y, *np.arange(4000).reshape(1, 1000, 4).repeat(2, axis=0)
    )
    assert abs(values.value) < 3 * values.standard_error


def test_what_has_no_distance():
    real, fake = CASES["random"]
    with pytest.raises(UserError, match="1 image"):
        polynomial_mmd(real, fake[:1])
    with pytest.raises(UserError, match="1 image"):
        kernel_distance(real[:1], fake, 0)
    with pytest.raises(UserError, match="subsets is 0"):
        kernel_distance(real, fake, 0, subsets=0)
