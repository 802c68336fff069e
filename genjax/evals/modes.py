"""How many modes of a known mixture the samples reach, and how many samples lie in a mode."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from genjax.data.mixtures import Modes

_RADIUS = 3.0


class ModeCoverage(NamedTuple):
    """What a set of samples reaches of a mixture.

    Attributes:
      covered: modes with at least one high-quality sample, 0 to k.
      high_quality: share of the samples that are of high quality, 0 to 1. Samples of the mixture
        itself reach ``1 - exp(-9 / 2)``, about 0.989.
    """

    covered: int
    high_quality: float


def measure_modes(points: Float[np.ndarray, "n 2"], modes: Modes) -> ModeCoverage:
    """Counts the modes that samples cover.

    A sample is of high quality if its nearest centre is at most 3 standard deviations away:
    ``min_k |x - c_k| <= 3 std``. A mode is covered if its centre is nearest to at least one
    high-quality sample.

    Args:
      points: float [n, 2], n at least 1, in the coordinates of `modes`. A sample that isn't finite
        is of no high quality.
      modes: k centres and their standard deviation.

    Returns:
      The number of covered modes and the share of high-quality samples.

    Reference: Srivastava et al. 2017 (VEEGAN), on synthetic data; also in Lin et al. 2018 (PacGAN).

    Example:
      >>> measure_modes(np.array([[0.1, 0.0], [0.5, 0.0]]), Modes(np.eye(2), 0.2))
      ModeCoverage(covered=1, high_quality=0.5)
    """
    differences = points.astype(np.float64)[:, None] - modes.centres
    squares = np.square(differences).sum(axis=-1)
    high_quality = squares.min(axis=1) <= (_RADIUS * modes.std) ** 2
    covered = np.unique(squares.argmin(axis=1)[high_quality])
    return ModeCoverage(len(covered), float(high_quality.mean()))
