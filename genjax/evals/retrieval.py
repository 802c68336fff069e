"""How well a joint embedding finds the caption of an image, the image of a caption, and classes."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Int32
from scipy.special import gammaln

from genjax.core.schema import Source
from genjax.data.classes import names_of
from genjax.evals.comparison import Comparison
from genjax.evals.inputs import examples, labels_of
from genjax.evals.score import Score

FIRST = (1, 5, 10)
"""How many of the most alike are looked at."""
_FROM = {"image_to_text": "an image", "text_to_image": "a caption"}
RECALLS = tuple(f"{name}_recall_{most}" for name in _FROM for most in FIRST)
_BATCH = 1000


class Ranks(NamedTuple):
    """Where right answers stand among all, the most alike first, which has the rank 0.

    Attributes:
      image_to_text: of each image's caption among the captions, int64 [n].
      text_to_image: of the first of each caption's images among the images, int64 [m].
    """

    image_to_text: Int[np.ndarray, "n"]
    text_to_image: Int[np.ndarray, "m"]


def retrieval_ranks(
    images: Float[np.ndarray, "n size"],
    texts: Float[np.ndarray, "m size"],
    captions: Int[np.ndarray, "n"],
) -> Ranks:
    """Ranks the captions of each image, and the images of each caption.

    Answers that are as much alike as the right one stand before it, so that an embedding to which
    all are alike finds nothing.

    Args:
      images: of length 1, float [n, size].
      texts: of captions that differ, likewise.
      captions: the caption of each image, in [0, m), of which each has an image.

    Returns:
      The ranks.

    Example:
      >>> ranks = retrieval_ranks(np.eye(3), np.eye(3)[[0, 2]], np.array([0, 0, 1]))
      >>> ranks.image_to_text.tolist(), ranks.text_to_image.tolist()
      ([0, 1, 0], [0, 0])
    """
    own = captions[:, None] == np.arange(len(texts))
    of_images, best = [], np.full(len(texts), -np.inf)
    for start in range(0, len(images), _BATCH):
        some, mine = images[start : start + _BATCH] @ texts.T, own[start : start + _BATCH]
        right = some[mine][:, None]
        of_images.append(np.sum((some >= right) & ~mine, axis=1))
        best = np.maximum(best, np.where(mine, some, -np.inf).max(axis=0))
    before = np.zeros(len(texts), np.int64)
    for start in range(0, len(images), _BATCH):
        some, mine = images[start : start + _BATCH] @ texts.T, own[start : start + _BATCH]
        before += np.sum((some >= best) & ~mine, axis=0)
    return Ranks(np.concatenate(of_images).astype(np.int64), before)


def recall(ranks: Int[np.ndarray, "n"], most: int) -> float:
    """The share of right answers among the first.

    Args:
      ranks: from `retrieval_ranks`.
      most: how many are looked at.

    Returns:
      ``mean(rank_i < most)``.
    """
    return float(np.mean(ranks < most))


def chance(right: Int[np.ndarray, "n"], answers: int, most: int) -> float:
    """What `recall` is by chance.

    ``mean_i (1 - C(a - r_i, k) / C(a, k))`` with a answers, r_i of them right, and the first k.

    Args:
      right: right answers of each question, at least 1.
      answers: of each question.
      most: how many are looked at.

    Returns:
      The mean over questions.

    Example:
      >>> round(chance(np.array([1, 2]), 4, 2), 6)
      0.666667
    """
    most = min(most, answers)
    wrong = np.float64(answers - right)
    some = wrong >= most
    ways = np.exp(
        gammaln(wrong + 1)
        - gammaln(np.maximum(wrong - most, 0) + 1)
        - gammaln(answers + 1)
        + gammaln(answers - most + 1)
    )
    return float(np.mean(1 - np.where(some, ways, 0)))


def first_captions(source: Source) -> Int32[np.ndarray, "n length"]:
    """The first caption of each example, all -1 where there is none."""
    starts = range(0, source.count, _BATCH)
    return np.concatenate(
        [
            np.asarray(source.read(np.arange(start, min(start + _BATCH, source.count)))["caption"])[
                :, 0
            ]
            for start in starts
        ]
    )


def score_retrieval(compared: Comparison) -> list[Score]:
    """Recall of the captions of held-out images, and of the images of their captions."""
    own, held_out = compared.embedding, compared.held_out
    assert own is not None
    assert held_out is not None
    first = first_captions(held_out)
    numbers = np.flatnonzero((first >= 0).any(axis=1))
    distinct, captions = np.unique(first[numbers], axis=0, return_inverse=True)
    captions = captions.reshape(-1)
    images = _embed_images(compared, held_out, numbers)
    ranks = retrieval_ranks(images, own.embed_tokens(distinct), captions)
    sizes = {"image_to_text": len(distinct), "text_to_image": len(numbers)}
    right = {
        "image_to_text": np.ones(len(numbers), np.int64),
        "text_to_image": np.bincount(captions),
    }
    scores = []
    for name, of in _FROM.items():
        found = getattr(ranks, name)
        for most in FIRST:
            parameters = {
                "images": compared.test,
                "captions": "the first of each example; equal ones are one",
                "answers": sizes[name],
                "chance": chance(right[name], sizes[name], most),
            }
            value = recall(found, most)
            details = {"median rank": float(np.median(found)) + 1, "of": of}
            scores.append(
                Score(
                    f"{name}_recall_{most}",
                    value,
                    "higher",
                    parameters=parameters,
                    details=details,
                    network=False,
                )
            )
    return scores


def score_zero_shot(compared: Comparison) -> list[Score]:
    """The share of held-out images whose class's name is the most like them of all names."""
    own, held_out = compared.embedding, compared.held_out
    assert own is not None
    assert held_out is not None
    labels = labels_of(held_out)
    assert labels is not None
    names = names_of(compared.real.schema)
    images = _embed_images(compared, held_out, np.arange(held_out.count))
    found = (images @ own.embed_texts(names).T).argmax(axis=1)
    shares = np.bincount(labels, minlength=len(names)) / len(labels)
    parameters = {
        "images": compared.test,
        "prompts": "the name of the class",
        "classes": compared.labelling,
        "chance": 1 / len(names),
        "most frequent class": float(shares.max()),
    }
    value = float(np.mean(found == labels))
    return [Score("zero_shot", value, "higher", parameters=parameters, network=False)]


def _embed_images(
    compared: Comparison, source: Source, numbers: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "n size"]:
    assert compared.embedding is not None
    starts = range(0, len(numbers), _BATCH)
    return np.concatenate(
        [
            compared.embedding.embed_images(
                np.asarray(examples(source, numbers[start : start + _BATCH]))
            )
            for start in compared.progress(starts, "held-out images", len(starts))
        ]
    )
