"""Frechet distance between two sets of features, each seen as one Gaussian."""

import numpy as np
from jaxtyping import Float, UInt8

_PIXEL_CELLS = 7


def gaussian_moments(
    features: Float[np.ndarray, "n d"],
) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "d d"]]:
    """Mean and unbiased covariance.

    Args:
      features: float [n, d], n at least 2.

    Returns:
      float64 [d] and float64 [d, d].
    """
    features = features.astype(np.float64)
    return features.mean(axis=0), np.cov(features, rowvar=False).reshape(features.shape[1], -1)


def frechet_distance(
    mean_a: Float[np.ndarray, "d"],
    covariance_a: Float[np.ndarray, "d d"],
    mean_b: Float[np.ndarray, "d"],
    covariance_b: Float[np.ndarray, "d d"],
) -> float:
    """Squared Frechet distance of two Gaussians.

    ``|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2)``

    The root is taken through eigenvalues of a symmetric matrix, so nothing imaginary arises and
    singular covariances need no care.

    Args:
      mean_a: float64 [d].
      covariance_a: float64 [d, d], positive semidefinite.
      mean_b: float64 [d].
      covariance_b: float64 [d, d], positive semidefinite.

    Returns:
      The distance, at least 0 up to rounding.

    Reference: Heusel et al. 2017, equation 6; Dowson & Landau 1982.
    """
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    product = np.linalg.eigvalsh(root @ covariance_b @ root)
    trace = np.trace(covariance_a) + np.trace(covariance_b)
    difference = np.sum(np.square(mean_a - mean_b))
    return float(difference + trace - 2 * np.sqrt(np.clip(product, 0, None)).sum())


def pixel_features(
    images: UInt8[np.ndarray, "n height width channels"],
) -> Float[np.ndarray, "n d"]:
    """Averages each image over at most 7 x 7 cells.

    Args:
      images: uint8 [n, height, width, channels].

    Returns:
      float64 [n, cells * channels], in [0, 1].
    """
    cells = images.astype(np.float64) / 255
    for axis in (1, 2):
        size = cells.shape[axis]
        edges = np.linspace(0, size, min(size, _PIXEL_CELLS), endpoint=False).astype(int)
        sums = np.add.reduceat(cells, edges, axis=axis)
        shape = [1] * cells.ndim
        shape[axis] = -1
        cells = sums / np.diff([*edges, size]).reshape(shape)
    return cells.reshape(len(images), -1)


def pixel_frechet_distance(
    real: UInt8[np.ndarray, "n height width channels"],
    fake: UInt8[np.ndarray, "m height width channels"],
) -> float:
    """A cheap Frechet distance on coarse pixels, to rank checkpoints of one run.

    It sees layout and variety but no detail: it is not FID and compares with no paper's figures.

    Args:
      real: uint8 [n, height, width, channels].
      fake: uint8 [m, height, width, channels].

    Returns:
      The distance; 0 where mean and covariance agree.
    """
    return frechet_distance(
        *gaussian_moments(pixel_features(real)), *gaussian_moments(pixel_features(fake))
    )
