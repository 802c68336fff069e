"""Mixtures of Gaussians in the plane: their modes are known, so a lost one shows.

``gaussians-8`` is a ring of 8 with radius 2 and standard deviation 0.02, as in Metz et al. 2017
(unrolled GANs, appendix A). Their notebook and PacGAN's code (Lin et al. 2018) have radius 1 and
0.01, which differs in scale alone.

``gaussians-25`` is a grid of 25 at {-4, -2, 0, 2, 4}^2 with standard deviation 0.05, as in PacGAN.

VEEGAN (Srivastava et al. 2017) made a ring of 8 and a grid of 25 the usual comparison, with the
measures in `genjax.evals.modes`.

Coordinates are divided by 2.5 and by 5, so that centres reach 0.8 and every point lies in (-1, 1),
as images do. No measure in standard deviations is changed by it.
"""

import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Modes(NamedTuple):
    """Equally likely Gaussians of one standard deviation, in the coordinates of the data set.

    Attributes:
      centres: float64 [k, 2], in (-1, 1).
      std: standard deviation of each coordinate around its centre.
    """

    centres: npt.NDArray[np.float64]
    std: float


def _ring(count: int, radius: float) -> npt.NDArray[np.float64]:
    angles = 2 * np.pi * np.arange(count) / count
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _grid(axis: list[float]) -> npt.NDArray[np.float64]:
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)


MIXTURES: Mapping[str, Modes] = {
    "gaussians-8": Modes(_ring(8, 2.0) / 2.5, 0.02 / 2.5),
    "gaussians-25": Modes(_grid([-4.0, -2.0, 0.0, 2.0, 4.0]) / 5, 0.05 / 5),
}
"""The mixtures, by the name of their data set."""

SPLITS: Mapping[str, int] = {"train": 100_000, "test": 10_000}
"""Number of points of each split of a mixture."""


def draw_mixture(name: str, split: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Draws a split of a mixture, the same points every time.

    ``x_i = c_(y_i) + std * n_i`` with standard normal ``n_i``, seeded by the names of the set and
    the split. The papers draw ``y_i`` at random; here each mode has the same number of points, in
    shuffled order.

    Args:
      name: one of `MIXTURES`.
      split: one of `SPLITS`.

    Returns:
      The points, float32 [n, 2] in (-1, 1), and the number of each one's mode, int32 [n].

    Example:
      >>> points, labels = draw_mixture("gaussians-25", "test")
      >>> points.shape, np.unique_counts(labels).counts.tolist() == [400] * 25
      ((10000, 2), True)
    """
    centres, std = MIXTURES[name]
    count = SPLITS[split]
    generator = np.random.default_rng(zlib.crc32(f"{name}/{split}".encode()))
    labels = generator.permutation(np.arange(count, dtype=np.int32) % len(centres))
    points = centres[labels] + std * generator.standard_normal((count, 2))
    return points.astype(np.float32), labels
