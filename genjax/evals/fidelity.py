"""How true images are to those that they stand for, pixel by pixel: PSNR and SSIM."""

import numpy as np
from jaxtyping import Float64, UInt8
from scipy import stats

from genjax.evals.comparison import Comparison
from genjax.evals.inputs import examples
from genjax.evals.ms_ssim import ssim
from genjax.evals.score import Score

_MOST = 2000
_EQUAL = 100.0
"""Decibels of equal images, which otherwise would have no bound."""

Pixels = UInt8[np.ndarray, "n height width channels"]


def psnr(a: Pixels, b: Pixels) -> Float64[np.ndarray, "n"]:
    """The peak signal-to-noise ratio of each pair of images, in decibels.

    ``10 log10(255^2 / mean((a - b)^2))`` over all pixels and channels, and at most 100.

    Args:
      a: uint8 [n, height, width, channels].
      b: likewise.

    Returns:
      float64 [n].

    Example:
      >>> black, grey = np.zeros((1, 8, 8, 1), np.uint8), np.full((1, 8, 8, 1), 51, np.uint8)
      >>> psnr(black, grey).round(2)
      array([13.98])
    """
    errors = np.mean((np.float64(a) - b) ** 2, axis=(1, 2, 3))
    least = 255.0**2 / 10 ** (_EQUAL / 10)
    found: Float64[np.ndarray, "n"] = 10 * np.log10(255.0**2 / np.maximum(errors, least))
    return found


def score_fidelity(compared: Comparison) -> list[Score]:
    """PSNR and SSIM of samples and of the images that they were made from, of at most 2,000.

    Beside both stand those of controls: the same images enlarged without a network.
    """
    truth = compared.truth
    assert truth is not None
    numbers = np.arange(min(compared.fake.count, _MOST))
    values: dict[str, dict[str, list[np.ndarray]]] = {"psnr": {}, "ssim": {}}
    starts = range(0, len(numbers), compared.chunk)
    for start in compared.progress(starts, "samples and what they are of", len(starts)):
        some = numbers[start : start + compared.chunk]
        true = np.asarray(examples(truth.source, truth.rows[some]))
        made = {"": np.asarray(examples(compared.fake, some)), **truth.enlarged(some)}
        for name, images in made.items():
            values["psnr"].setdefault(name, []).append(psnr(images, true))
            values["ssim"].setdefault(name, []).append(ssim(images, true))
    scores = []
    for metric, found in values.items():
        each = {name: np.concatenate(parts) for name, parts in found.items()}
        own = each.pop("")
        scores.append(
            Score(
                metric,
                float(own.mean()),
                "higher",
                spread=float(stats.sem(own)) if len(own) > 1 else None,
                parameters={"pairs": len(own), "spread": "standard error"},
                details={name: float(control.mean()) for name, control in each.items()},
                network=False,
            )
        )
    return scores
