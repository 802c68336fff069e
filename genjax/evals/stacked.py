"""Which of the 1,000 modes of Stacked MNIST samples reach, by a classifier of its digits."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from genjax.core.schema import Schema
from genjax.data.stacked import MODES
from genjax.data.standard import STANDARD
from genjax.evals.classifier import at_side, read_classifier
from genjax.evals.features import FeatureNetwork


class StackedModes(NamedTuple):
    """What a set of samples reaches.

    Attributes:
      covered: modes with at least one sample, 0 to 1,000.
      kl: divergence of the samples' histogram of modes from the uniform one, in nats.
    """

    covered: int
    kl: float


def digit_classifier(schema: Schema) -> FeatureNetwork:
    """The classifier of what is stacked, at its size; raises UserError if it isn't there."""
    parts = schema.facts["stacked"]
    side = schema.fields["image"].shape[0]
    whole = side == STANDARD[parts].shape[0]
    return read_classifier(at_side(parts, None if whole else side)).network


def measure_stacked(digits: Int[np.ndarray, "n 3"]) -> StackedModes:
    """Counts modes, and compares how often samples reach them.

    With the histogram p, ``kl = sum_c p_c log(1000 p_c)``.

    Args:
      digits: of each sample's channels, 0 to 9, n at least 1.

    Returns:
      The number of modes, and the divergence.

    Reference: Metz et al. 2017 (Unrolled GAN), section 3.3.1; Srivastava et al. 2017 (VEEGAN).

    Example:
      >>> measure_stacked(np.array([[0, 0, 7], [0, 0, 7]]))
      StackedModes(covered=1, kl=6.907755278982137)
    """
    counts = np.bincount(digits @ np.array([100, 10, 1]), minlength=MODES)
    shares = counts[counts > 0] / len(digits)
    return StackedModes(len(shares), float(max(np.sum(shares * np.log(MODES * shares)), 0)))
