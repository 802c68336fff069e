"""PSNR and SSIM against their definitions, window by window, in float64."""

import numpy as np
import pytest
from scipy import ndimage

from genjax.errors import UserError
from genjax.evals.fidelity import psnr
from genjax.evals.ms_ssim import ssim

RNG = np.random.default_rng(0)


def by_definition(a, b, side=11):
    """SSIM of one channel: of each window weighted moments, and the mean over windows."""
    offsets = np.arange(side) - side // 2
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    found = []
    windows = (
        np.lib.stride_tricks.sliding_window_view(np.float64(x), (side, side)) for x in (a, b)
    )
    for x, y in zip(*(w.reshape(-1, side, side) for w in windows), strict=True):
        mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
        var_x, var_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
        both = (weights * (x - mean_x) * (y - mean_y)).sum()
        found.append(
            (2 * mean_x * mean_y + c1)
            * (2 * both + c2)
            / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
        )
    return np.mean(found)


@pytest.mark.parametrize("side", [16, 9])
def test_ssim_is_that_of_its_definition(side):
    a = RNG.integers(0, 256, (3, side, side + 2, 2), dtype=np.uint8)
    smooth = ndimage.gaussian_filter(np.float64(a), (0, 1, 1, 0))
    b = np.uint8(smooth)
    window = min(11, side)
    wanted = [
        np.mean([by_definition(a[n, ..., c], b[n, ..., c], window) for c in range(2)])
        for n in range(3)
    ]
    np.testing.assert_allclose(ssim(a, b), wanted, rtol=1e-9)
    np.testing.assert_allclose(ssim(a, a), 1)
    # Unlike the value of several scales it may be below 0.
    stripes = np.zeros((1, 16, 16, 1), np.uint8)
    stripes[:, ::2] = 255
    assert ssim(stripes, 255 - stripes)[0] < -0.5


def test_psnr_is_that_of_its_definition():
    a, b = RNG.integers(0, 256, (2, 5, 6, 4, 3), dtype=np.uint8)
    wanted = [
        20 * np.log10(255) - 10 * np.log10(np.mean((np.float64(x) - y) ** 2))
        for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(psnr(a, b), wanted, rtol=1e-12)
    assert psnr(a, a).tolist() == [100.0] * 5


def test_what_is_refused():
    wrong = np.full((1, 8, 8, 1), 300.0)
    with pytest.raises(UserError, match=r"from 300 to 300; scale them to 0\.\.255"):
        ssim(wrong, wrong)
