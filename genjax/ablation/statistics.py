"""What a handful of seeds says: intervals, comparisons by seed, and many comparisons at once."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

RESAMPLES = 10_000
"""Bootstrap samples of an interval."""


class Interval(NamedTuple):
    """A mean and what is known of it.

    Attributes:
      mean: of the values.
      low: lower end of the 95 % interval, or None.
      high: upper end, or None.
      n: values, at least 1.
    """

    mean: float
    low: float | None
    high: float | None
    n: int


class Difference(NamedTuple):
    """A comparison with the baseline.

    Attributes:
      mean: of the differences by seed.
      p: of the hypothesis that it is zero, in [0, 1], or None where that can't be tested.
      n: pairs, at least 1.
    """

    mean: float
    p: float | None
    n: int


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean over seeds with its 95 % percentile bootstrap interval.

    With ``m*_1 .. m*_B`` the means of B = 10,000 samples of n from the n values, with
    replacement, the interval is

    ``[q_0.025(m*), q_0.975(m*)]``

    The samples are the same at each call, so the same values give the same interval.

    Args:
      values: one for each seed, [n], n at least 1, finite.

    Returns:
      The mean and its interval; of one value there is none, and of equal ones its width is zero.

    Reference: Efron & Tibshirani 1993, chapter 13.

    Example:
      >>> mean_interval([2.0, 2.0])
      Interval(mean=2.0, low=2.0, high=2.0, n=2)
      >>> mean_interval([2.0])
      Interval(mean=2.0, low=None, high=None, n=1)
    """
    sample = np.asarray(values, np.float64)
    if sample.size == 1:
        return Interval(float(sample[0]), None, None, 1)
    if np.ptp(sample) == 0:
        value = float(sample[0])
        return Interval(value, value, value, sample.size)
    found = scipy.stats.bootstrap(
        (sample,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(float(sample.mean()), float(found.low), float(found.high), sample.size)


def paired_difference(
    values: Mapping[int, float], baseline: Mapping[int, float]
) -> Difference | None:
    """Compares a variant with the baseline over the seeds that both have, two-sided.

    With d_i the n differences by seed, and s their standard deviation with n - 1,

    ``t = mean(d) sqrt(n) / s``, of which p is read from Student's t with n - 1 degrees

    Args:
      values: from seed to the score of the variant, finite.
      baseline: from seed to that of the baseline, finite.

    Returns:
      The mean difference with its p, or None without a common seed. There is no p of one pair,
      nor of differences that are all equal, unless they are all zero: then p is 1.

    Reference: Student 1908.

    Example:
      >>> mean, p, n = paired_difference({0: 3.0, 1: 5.0, 7: 9.0}, {0: 2.0, 1: 2.0})
      >>> mean, round(p, 6), n
      (2.0, 0.295167, 2)
    """
    seeds = sorted(values.keys() & baseline.keys())
    if not seeds:
        return None
    ours = np.array([values[seed] for seed in seeds], np.float64)
    theirs = np.array([baseline[seed] for seed in seeds], np.float64)
    difference = ours - theirs
    mean = float(difference.mean())
    # Differences that only rounding tells apart would get a p of about zero.
    rounding = 8 * np.finfo(np.float64).eps * max(np.abs(ours).max(), np.abs(theirs).max())
    if len(seeds) < 2:
        p = None
    elif not difference.any():
        p = 1.0
    elif np.ptp(difference) <= rounding:
        p = None
    else:
        p = float(scipy.stats.ttest_rel(ours, theirs).pvalue)
    return Difference(mean, p, len(seeds))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: bounds the chance of any false rejection among all comparisons.

    With ``p_(1) <= ... <= p_(m)`` sorted,

    ``corrected_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))``

    Args:
      p_values: of the m comparisons, each in [0, 1]; any m.

    Returns:
      The corrected ones, in the order given.

    Reference: Holm 1979.

    Example:
      >>> holm([0.25, 0.0625])
      [0.25, 0.125]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return corrected
