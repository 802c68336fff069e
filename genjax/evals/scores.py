"""How good the samples of a checkpoint are: one number to rank it, and what goes into the log."""

import numpy as np
from jaxtyping import Float32, UInt8

from genjax.data.sources import Dataset
from genjax.evals.frechet import pixel_frechet_distance
from genjax.evals.modes import measure_modes


def score_samples(
    dataset: Dataset,
    real: UInt8[np.ndarray, "n height width channels"] | Float32[np.ndarray, "n 1 1 2"],
    fake: UInt8[np.ndarray, "m height width channels"] | Float32[np.ndarray, "m 1 1 2"],
) -> tuple[float, dict[str, float]]:
    """Scores samples by what is known of their data set.

    Images get the Frechet distance on coarse pixels. Points of a known mixture get
    ``(modes missing) + (1 - high-quality share)``: a mode more is worth any share.

    Args:
      dataset: what the model learns from.
      real: some of its images, as it holds them; not used where the modes are known.
      fake: samples, of the same shape and type.

    Returns:
      The score, lower is better, and the metrics behind it, named ``evaluation/quantity``.
    """
    if dataset.modes is None:
        distance = pixel_frechet_distance(real, fake)
        return distance, {"evaluation/pixel_frechet": distance}
    covered, high_quality = measure_modes(fake.reshape(len(fake), -1), dataset.modes)
    missing = len(dataset.modes.centres) - covered
    return missing + (1 - high_quality), {
        "evaluation/modes_covered": float(covered),
        "evaluation/high_quality": high_quality,
    }
