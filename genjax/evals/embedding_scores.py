"""How well sampled embeddings tell the images of their captions."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from genjax.core.captions import CAPTION
from genjax.core.embeddings import EMBEDDING
from genjax.core.schema import Source
from genjax.evals.comparison import Comparison
from genjax.evals.retrieval import FIRST, chance, recall
from genjax.evals.score import Score

_BATCH = 1000
_RECALL = "embedding_recall_{}"
EMBEDDING_SCORES = ("embedding_cosine", *map(_RECALL.format, FIRST))


class Found(NamedTuple):
    """How samples lie to the embeddings of images.

    Attributes:
      cosines: of each sample and the most like it of its right images, float64 [n].
      ranks: of that one among all images, the most alike first, which has the rank 0; int64 [n].
    """

    cosines: Float[np.ndarray, "n"]
    ranks: Int[np.ndarray, "n"]


def find_images(
    samples: Float[np.ndarray, "n size"],
    images: Float[np.ndarray, "m size"],
    right: Sequence[Int[np.ndarray, "_"]],
) -> Found:
    """Looks for the images of samples.

    Wrong images that are as much alike as the right one stand before it.

    Args:
      samples: of length 1.
      images: likewise.
      right: the numbers of each sample's images, at least one.

    Returns:
      What was found.

    Example:
      >>> found = find_images(np.eye(2), np.eye(2), [np.array([0]), np.array([0, 1])])
      >>> found.cosines.tolist(), found.ranks.tolist()
      ([1.0, 1.0], [0, 0])
    """
    cosines, ranks = [], []
    for start in range(0, len(samples), _BATCH):
        alike = samples[start : start + _BATCH].astype(np.float64) @ images.astype(np.float64).T
        for row, own in zip(alike, right[start : start + _BATCH], strict=True):
            best = row[own].max()
            cosines.append(best)
            ranks.append(np.sum(row >= best) - np.sum(row[own] >= best))
    return Found(np.array(cosines), np.array(ranks, np.int64))


def score_embeddings(compared: Comparison) -> list[Score]:
    """The cosine of samples and the held-out images of their captions, and their recall.

    Beside both stands a control: the samples with the images of others' captions.
    """
    held_out = compared.held_out
    assert held_out is not None
    images, known = _images_of_captions(held_out)
    fake = compared.fake.read(np.arange(compared.fake.count))
    captions = np.asarray(fake[CAPTION])[:, 0]
    right = [known.get(_key(caption)) for caption in captions]
    chosen = [number for number, own in enumerate(right) if own is not None]
    own = [some for some in right if some is not None]
    samples = np.asarray(fake[EMBEDDING])[chosen]
    found = find_images(samples, images, own)
    others = find_images(samples, images, [*own[1:], *own[:1]])
    counts = np.array([len(some) for some in own])
    parameters = {"images": compared.test, "right": "images that have the caption"}
    scores = [
        Score(
            "embedding_cosine",
            float(found.cosines.mean()),
            "higher",
            spread=float(stats.sem(found.cosines)),
            parameters={**parameters, "spread": "standard error"},
            details={"captions of others": float(others.cosines.mean()), "of": len(own)},
            network=False,
        )
    ]
    for most in FIRST:
        by_chance = chance(counts, len(images), most)
        scores.append(
            Score(
                _RECALL.format(most),
                recall(found.ranks, most),
                "higher",
                parameters={**parameters, "answers": len(images), "chance": by_chance},
                details={
                    "captions of others": recall(others.ranks, most),
                    "median rank": float(np.median(found.ranks)) + 1,
                    "of": len(own),
                },
                network=False,
            )
        )
    return scores


def _images_of_captions(source: Source) -> tuple[np.ndarray, dict[bytes, np.ndarray]]:
    """All embeddings of a source, and the numbers of the examples that have a caption."""
    embeddings = []
    numbers: dict[bytes, list[int]] = {}
    for start in range(0, source.count, _BATCH):
        some = np.arange(start, min(start + _BATCH, source.count))
        arrays = source.read(some)
        embeddings.append(np.asarray(arrays[EMBEDDING]))
        for number, candidates in zip(some, np.asarray(arrays[CAPTION]), strict=True):
            for caption in dict.fromkeys(map(_key, candidates)):
                numbers.setdefault(caption, []).append(int(number))
    numbers.pop(_key(np.full(source.schema.fields[CAPTION].shape[-1], -1)), None)
    return np.concatenate(embeddings), {key: np.array(some) for key, some in numbers.items()}


def _key(caption: Int[np.ndarray, "length"]) -> bytes:
    return np.ascontiguousarray(caption, np.int32).tobytes()
