"""Scores of a conditional model by classifiers, and which classes samples reach."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from genjax.data.progress import Progress, no_progress
from genjax.evals.classifier import Trained, accuracy
from genjax.evals.classifier_training import train_classifier

_MODE_SHARE = 0.1


def class_agreement(logits: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"]) -> float:
    """GAN-test: share of samples that a classifier of real images names as they were asked for.

    ``mean(argmax_k logits_ik = labels_i)``

    It asks for quality, not for variety: one good sample of each class reaches 1.

    Args:
      logits: of the samples, float [n, k].
      labels: the classes that were asked for, int [n].

    Returns:
      The share, in [0, 1]; real images reach the classifier's accuracy.

    Reference: Shmelkov et al. 2018, section 3.

    Example:
      >>> class_agreement(np.array([[2.0, 1.0], [0.0, 1.0]]), np.array([0, 0]))
      0.5
    """
    return float(np.mean(logits.argmax(axis=1) == labels))


class AccuracyScore(NamedTuple):
    """Accuracies, on the same real images, of classifiers made by one recipe.

    Attributes:
      generated: of the one that learnt from generated images; this is the score.
      real: of the one that learnt from real images.
    """

    generated: float
    real: float


def classification_accuracy_score(
    images: UInt8[np.ndarray, "n height width channels"],
    labels: Int[np.ndarray, "n"],
    test_images: UInt8[np.ndarray, "m height width channels"],
    test_labels: Int[np.ndarray, "m"],
    trained: Trained,
    seed: int = 0,
    progress: Progress = no_progress,
) -> AccuracyScore:
    """GAN-train: how well a classifier that learns from generated images alone names real ones.

    It falls if samples lack quality, variety or the class that was asked for. The recipe counts
    passes, so only as many samples as there are real training images get as many steps.

    Args:
      images: generated, uint8 [n, height, width, channels].
      labels: the classes that were asked for, int [n], in [0, k).
      test_images: real, uint8 [m, height, width, channels]; none that the model learnt from.
      test_labels: int [m], in [0, k).
      trained: the classifier of the real data set, whose recipe is used.
      seed: of the training.
      progress: shows how far it is.

    Returns:
      The score and what it is to be compared with, both in [0, 1].

    Reference: Shmelkov et al. 2018, section 3 (GAN-train); Ravuri & Vinyals 2019, section 3, where
    it is the classification accuracy score.
    """
    network = train_classifier(
        images, labels, trained.classes, trained.recipe, "samples", trained.domain, seed, progress
    )
    return AccuracyScore(
        accuracy(network, test_images, test_labels),
        accuracy(trained.network, test_images, test_labels),
    )


def class_histogram(logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "k"]:
    """Shares of the classes that a classifier names, float64 [k].

    Args:
      logits: float [n, k], n at least 1.

    Returns:
      ``mean_i 1[argmax_j logits_ij = c]`` for each class c.
    """
    return np.bincount(logits.argmax(axis=1), minlength=logits.shape[1]) / len(logits)


class ClassModes(NamedTuple):
    """Which classes of a reference samples reach.

    Attributes:
      modes: classes whose share is at least a tenth of that in the reference, 0 to k.
      kl: divergence of the samples' histogram of classes from the reference's, in nats; infinite if
        the samples have a class that the reference lacks.
    """

    modes: int
    kl: float


def count_modes(real: Float[np.ndarray, "n k"], fake: Float[np.ndarray, "m k"]) -> ClassModes:
    """Counts the classes that samples reach, and compares how often they do.

    With histograms p of the samples and q of the reference, ``modes = #{c: q_c > 0, p_c >= q_c /
    10}`` and ``kl = sum_c p_c log(p_c / q_c)``. In the papers a class counts from its first sample
    on, which any classifier's mistake can be.

    Args:
      real: logits of the reference, float [n, k], n at least 1.
      fake: of the samples, by the same classifier, float [m, k], m at least 1.

    Returns:
      The number of classes and the divergence.

    Reference: Metz et al. 2017 (Unrolled GAN), section 3.3.1; Srivastava et al. 2017 (VEEGAN), on
    stacked MNIST.

    Example:
      >>> count_modes(np.eye(2), np.array([[1.0, 0.0]]))
      ClassModes(modes=1, kl=0.6931471805599453)
    """
    p, q = class_histogram(fake), class_histogram(real)
    some = p > 0
    with np.errstate(divide="ignore"):
        kl = np.sum(p[some] * (np.log(p[some]) - np.log(q[some])))
    return ClassModes(int(np.sum((q > 0) & (p >= _MODE_SHARE * q))), float(max(kl, 0)))
