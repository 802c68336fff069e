"""How well images show what their captions say, by a joint embedding of both."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from genjax.core.captions import CAPTION
from genjax.core.schema import Source
from genjax.domains.captions import decode_caption
from genjax.evals.comparison import Comparison
from genjax.evals.embedding import Embedding, clip_score
from genjax.evals.inputs import subset
from genjax.evals.retrieval import chance
from genjax.evals.score import Score

AMONG = 100
"""Captions that the right one is looked for among."""
_BATCH = 1000


class Embedded(NamedTuple):
    """Images and their captions in one space.

    Attributes:
      images: float [n, size], of length 1.
      texts: of the caption of each, likewise.
    """

    images: Float[np.ndarray, "n size"]
    texts: Float[np.ndarray, "n size"]


def hits_among(embedded: Embedded, among: int) -> Float[np.ndarray, "groups"]:
    """How often an image's own caption is the most like it of some.

    Images are taken in groups, in their order, and each is compared with the captions of its group.
    Captions that equal its own are no wrong ones; others that are as much like it stand before.

    Args:
      embedded: of which those that fill no group are left out.
      among: captions of a group.

    Returns:
      The share of each group, float64.

    Example:
      >>> hits_among(Embedded(np.eye(2), np.eye(2)), 2)
      array([1.])
    """
    shares = []
    for start in range(0, len(embedded.images) - among + 1, among):
        images, texts = (part[start : start + among] for part in embedded)
        alike = images.astype(np.float64) @ texts.astype(np.float64).T
        same = (texts[:, None] == texts[None]).all(axis=-1)
        own = np.diagonal(alike)
        shares.append(np.mean(~((alike >= own[:, None]) & ~same).any(axis=1)))
    return np.array(shares, np.float64)


def score_clip(compared: Comparison) -> list[Score]:
    """The CLIP score of samples and their captions, and how often a sample tells its caption.

    Beside both stand controls: the samples with captions of others, and images of the reference and
    of what is held out, each with its own.
    """
    judge = compared.clip
    assert judge is not None
    made = _embed(compared, compared.fake, np.arange(compared.fake.count))
    controls = {"captions of others": Embedded(made.images, np.roll(made.texts, 1, axis=0))}
    for title, source in (("real images", compared.real), ("held-out images", compared.held_out)):
        if source is not None:
            chosen = subset(source, compared.fake.count, compared.seed)
            controls[title] = _embed(compared, source, chosen)
    cosines = clip_score(*made)
    parameters: dict[str, object] = {"clip": judge.name, "spread": "standard error"}
    scores = [
        Score(
            "clip_score",
            float(cosines.mean()),
            "higher",
            spread=float(stats.sem(cosines)),
            parameters=parameters,
            details={title: float(clip_score(*each).mean()) for title, each in controls.items()},
            network=False,
        )
    ]
    shares = hits_among(made, AMONG)
    if len(shares):
        scores.append(
            Score(
                "caption_accuracy",
                float(shares.mean()),
                "higher",
                spread=float(stats.sem(shares)) if len(shares) > 1 else None,
                parameters={
                    **parameters,
                    "captions": AMONG,
                    "chance": chance(np.ones(1, np.int64), AMONG, 1),
                },
                details={title: _mean(hits_among(each, AMONG)) for title, each in controls.items()},
                network=False,
            )
        )
    return scores


def _mean(values: Float[np.ndarray, "n"]) -> float | None:
    return float(values.mean()) if len(values) else None


def _embed(compared: Comparison, source: Source, numbers: np.ndarray) -> Embedded:
    """Embeds images and the first captions of a source, as texts of the judge's own tokenizer."""
    assert compared.clip is not None
    own: Embedding = compared.clip.embedding
    known: dict[bytes, str] = {}
    images, texts = [], []
    starts = range(0, len(numbers), _BATCH)
    for start in compared.progress(starts, f"images and captions of {source.name}", len(starts)):
        arrays: Mapping[str, np.ndarray] = source.read(numbers[start : start + _BATCH])
        images.append(own.embed_images(np.asarray(arrays["image"])))
        for row in np.asarray(arrays[CAPTION])[:, 0]:
            key = row.tobytes()
            if key not in known:
                known[key] = decode_caption(source.schema.facts, row)
            texts.append(known[key])
    distinct = list(dict.fromkeys(texts))
    rows = own.embed_texts(distinct)
    place = {text: number for number, text in enumerate(distinct)}
    return Embedded(np.concatenate(images), rows[[place[text] for text in texts]])
