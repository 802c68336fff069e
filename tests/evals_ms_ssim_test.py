"""MS-SSIM against pytorch-msssim at five scales, and SciPy at fewer."""

import numpy as np
import pytest
from scipy import ndimage, stats
from sklearn.datasets import load_digits

from genjax.errors import UserError
from genjax.evals.ms_ssim import count_scales, ms_ssim, ms_ssim_diversity

RNG = np.random.default_rng(0)
WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def draw(*shape):
    """Smooth images, and others that are like them in part."""
    noise = ndimage.gaussian_filter(RNG.normal(size=shape), (0, 2, 2, 0))
    a = np.clip(128 + 400 * noise, 0, 255)
    b = np.clip(0.8 * a + RNG.normal(20, 25, size=shape), 0, 255)
    return a.astype(np.uint8), b.astype(np.uint8)


@pytest.mark.parametrize("shape", [(1, 176, 176, 3), (1, 192, 256, 1)])
def test_five_scales_against_pytorch_msssim(shape):
    torch = pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")
    theirs = pytest.importorskip("pytorch_msssim", reason="needs the extra genjax-models[parity]")
    a, b = draw(*shape)
    x, y = (torch.tensor(images).permute(0, 3, 1, 2).double() for images in (a, b))
    wanted = theirs.ms_ssim(x, y, data_range=255, size_average=False).numpy()
    found = ms_ssim(a, b)
    assert found.scales == 5
    assert (wanted < 0.97).all()
    # The five weights as printed have the sum 1.0001; ours are divided by it. Its window is
    # float32.
    np.testing.assert_allclose(found.values**1.0001, wanted, rtol=2e-6)


def one_scale(a, b, window):
    """Of one channel: contrast and structure, and with luminance."""
    taps = stats.norm.pdf(np.arange(window) - window // 2, scale=1.5)
    edge = window // 2

    def blur(x):
        for axis in (0, 1):
            x = ndimage.correlate1d(x, taps / taps.sum(), axis=axis)
        return x[edge : len(x) - edge, edge : x.shape[1] - edge]

    mean_a, mean_b = blur(a), blur(b)
    variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    contrast = (2 * covariance + 58.5225) / (variance_a + variance_b + 58.5225)
    luminance = (2 * mean_a * mean_b + 6.5025) / (mean_a**2 + mean_b**2 + 6.5025)
    return contrast.mean(), (contrast * luminance).mean()


def formula(a, b, scales, window):
    weights = WEIGHTS[:scales] / WEIGHTS[:scales].sum()
    result = 1.0
    for scale, weight in enumerate(weights):
        contrast, similarity = one_scale(a, b, window)
        result *= max(similarity if scale == scales - 1 else contrast, 0) ** weight
        a, b = (
            sum(x[i : h // 2 * 2 : 2, j : w // 2 * 2 : 2] for i in (0, 1) for j in (0, 1)) / 4
            for x in (a, b)
            for h, w in [x.shape]
        )
    return result


@pytest.mark.parametrize(
    ("height", "width", "scales", "window"),
    [(28, 28, 2, 11), (47, 70, 3, 11), (8, 8, 1, 7), (9, 30, 1, 9), (11, 11, 1, 11), (1, 1, 1, 1)],
)
def test_fewer_scales_against_scipy(height, width, scales, window):
    a, b = draw(3, height, width, 2)
    assert count_scales(height, width) == scales
    wanted = [
        np.mean(
            [formula(*(x[n, ..., c].astype(float) for x in (a, b)), scales, window) for c in (0, 1)]
        )
        for n in range(3)
    ]
    for images in ((a, b), (a.astype(np.float32), b.astype(np.float32))):
        found = ms_ssim(*images)
        assert found.scales == scales
        np.testing.assert_allclose(found.values, wanted, rtol=1e-10)


def test_equal_and_opposite_images():
    a, _ = draw(3, 28, 28, 2)
    np.testing.assert_allclose(ms_ssim(a, a).values, 1, rtol=1e-12)
    assert not ms_ssim(a, 255 - a).values.any()


def test_scales_of_sides():
    sides = [1, 11, 21, 22, 43, 44, 87, 88, 175, 176, 4096]
    assert [count_scales(s, 5000) for s in sides] == [1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert count_scales(5000, 30) == 2


def test_diversity_is_the_mean_over_pairs():
    """Three images have three pairs, and many draws find their mean."""
    images = np.concatenate(draw(3, 8, 8, 1))[[0, 1, 3]]
    values = [ms_ssim(images[[i]], images[[j]]).values[0] for i, j in ((0, 1), (0, 2), (1, 2))]
    found = ms_ssim_diversity(images, None, seed=0, pairs=1000)
    assert found.pairs == 1000
    assert found.scales == 1
    assert abs(found.value - np.mean(values)) < 4 * found.standard_error
    np.testing.assert_allclose(found.standard_error, np.std(values) / np.sqrt(1000), rtol=0.1)
    first, again, other = (ms_ssim_diversity(images, None, seed, 40) for seed in (1, 1, 2))
    assert first == again != other


def test_pairs_are_of_one_class():
    """Of two classes of copies, and of a class of one that has no pair."""
    black, white = np.zeros((4, 8, 8, 1), np.uint8), np.full((3, 8, 8, 1), 255, np.uint8)
    images, labels = np.concatenate([black, white]), np.array([0, 0, 0, 0, 7, 7, 2])
    assert ms_ssim_diversity(images, labels, 0, 40).value == 1
    assert ms_ssim_diversity(images, None, 0, 40).value < 0.9
    # One pair of each class.
    alike = ms_ssim(images[:1], images[-1:]).values[0]
    found = ms_ssim_diversity(images[[0, 1, 0, 6]], np.array([0, 0, 1, 1]), 0, 2)
    assert found[:2] == pytest.approx(((1 + alike) / 2, (1 - alike) / 2))
    # Few of one class count as much as many of the other.
    many = np.concatenate([draw(30, 8, 8, 1)[0], white])
    mixed = ms_ssim_diversity(many, np.repeat([0, 1], [30, 3]), 0, 1000).value
    alone = ms_ssim_diversity(many[:30], None, 0, 1000)
    assert abs(mixed - (1 + alone.value) / 2) < 4 * alone.standard_error


def test_digits_are_more_alike_within_a_class():
    digits = load_digits()
    images = np.clip(digits.images * 16, 0, 255).astype(np.uint8)[..., None]
    within = ms_ssim_diversity(images, digits.target, 0, 400)
    anywhere = ms_ssim_diversity(images, None, 0, 400)
    assert within.value > anywhere.value + 5 * within.standard_error


def test_what_cannot_be_compared():
    images = np.zeros((3, 8, 8, 1), np.float32)
    with pytest.raises(UserError, match="from -1 to -1; scale them to 0"):
        ms_ssim(images, images - 1)
    with pytest.raises(UserError, match="no two of 3 images"):
        ms_ssim_diversity(images, np.arange(3), 0)
    with pytest.raises(UserError, match="pairs is 1"):
        ms_ssim_diversity(images, None, 0, pairs=1)
