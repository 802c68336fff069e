"""Linear separability: whether a plane in latents tells apart what a classifier does."""

import warnings
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

# A plane is not known by fewer on either side.
_FEWEST = 2


def conditional_entropy(truth: Bool[np.ndarray, "n"], told: Bool[np.ndarray, "n"]) -> float:
    """``H(Y | X) = -sum p(x, y) log p(y | x)`` of what is true (Y) by what is told (X), in nats.

    Args:
      truth: of each example.
      told: of each example.

    Returns:
      The entropy, from 0, where what is told says all, to log 2.

    Example:
      >>> conditional_entropy(np.array([True, False]), np.array([False, True]))
      0.0
    """
    entropy = 0.0
    for side in (False, True):
        own = truth[told == side]
        for count in (np.sum(own), np.sum(~own)):
            if count:
                entropy -= count / len(truth) * np.log(count / len(own))
    return float(entropy)


def confident_half(
    logits: Float[np.ndarray, "n k"], label: int
) -> tuple[Int[np.ndarray, "m"], Bool[np.ndarray, "m"]]:
    """The half of the samples of which a classifier is surest whether they are of a class.

    It is half of those that it counts in (a probability above 1/2), and half of those out: of ten
    classes, the surest half of all might hold none of the class.

    Args:
      logits: of the samples.
      label: the class.

    Returns:
      Numbers of the samples, and whether it counts each in.
    """
    wide = logits.astype(np.float64)
    odds = wide[:, label] - logsumexp(np.delete(wide, label, axis=1), axis=1)
    chosen = []
    for side in (odds <= 0, odds > 0):
        own = np.flatnonzero(side)
        order = np.argsort(-np.abs(odds[own]), kind="stable")
        chosen.append(own[order[: -(-len(own) // 2)]])
    numbers = np.concatenate(chosen)
    return numbers, odds[numbers] > 0


def separability(
    codes: Float[np.ndarray, "n size"], logits: Float[np.ndarray, "n k"]
) -> tuple[float, Mapping[int, float]]:
    """``exp(sum_k H(Y_k | X_k))``: Y_k is whether a classifier counts a sample to class k, X_k on
    which side of a plane its latent lies.

    The plane is that of a linear support vector machine (C = 1), fitted to the `confident_half`,
    of which the entropy is, too. Of two classes only one is told from the rest.

    Args:
      codes: latents of the samples.
      logits: of the classifier.

    Returns:
      The score, from 1, where planes tell all classes apart; and the entropy of each class. A class
      with fewer than two samples on either side is left out.

    Reference: Karras et al. 2019, section 4.2, where 40 classifiers of attributes of faces tell.
    """
    entropies = {}
    for label in range(logits.shape[1]) if logits.shape[1] > 2 else (1,):
        numbers, truth = confident_half(logits, label)
        if min(np.sum(truth), np.sum(~truth)) < _FEWEST:
            continue
        machine = LinearSVC(random_state=0)
        with warnings.catch_warnings():
            # After a thousand passes a plane is good enough.
            warnings.simplefilter("ignore", ConvergenceWarning)
            machine.fit(codes[numbers], truth)
        entropies[label] = conditional_entropy(truth, machine.predict(codes[numbers]))
    return float(np.exp(sum(entropies.values()))), entropies
