"""Images that a decoder of image embeddings makes of given images, as DALL-E 2's figures 3 to 5."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from genjax.core.captions import CAPTION
from genjax.core.compiler import jit
from genjax.core.embeddings import EMBEDDING, embedded_by
from genjax.core.types import Condition, Index, Key, State
from genjax.data.given import read_given
from genjax.data.progress import Progress, no_progress
from genjax.domains import domain_of
from genjax.errors import UserError
from genjax.evals.embedding import Embedding
from genjax.run.editing import find_latents
from genjax.run.embedded import open_embedding
from genjax.run.interpolation import slerp
from genjax.run.latents import latent_of
from genjax.run.opening import Run
from genjax.run.sampling import HostCondition

MOST_IMAGES = 64
"""That are read at once."""

Embeddings = Float[np.ndarray, "n size"]
Noise = Float[np.ndarray, "n numbers"]


class Known(NamedTuple):
    """Given images.

    Attributes:
      images: as the decoder makes them, uint8 [n, height, width, channels].
      embeddings: float32 [n, size], of length 1.
    """

    images: UInt8[np.ndarray, "n height width channels"]
    embeddings: Embeddings


def open_space(run: Run) -> Embedding:
    """Opens the joint embedding that a decoder learnt from.

    Args:
      run: the decoder.

    Returns:
      What embeds images and texts.

    Raises:
      UserError: the run is none that is given embeddings and captions at most, or the embedding's
        run is not there.
    """
    given = run.algorithm.spec.given
    if EMBEDDING not in given or not set(given) <= {EMBEDDING, CAPTION}:
        raise UserError(
            f"{run.experiment.name!r} makes no images of embeddings alone; name a run such as one "
            "of unclip-emoji"
        )
    model: Any = run.experiment.model
    # What is left out by label_dropout is left out with the embedding.
    if CAPTION in given and not model.caption_dropout:
        raise UserError(
            f"{run.experiment.name!r} was never given an embedding without a caption, of which "
            "images are varied; train one with --model.caption-dropout 0.5"
        )
    return open_embedding(embedded_by(run.schema.facts), "the embedding of the data")[0]


def read_known(run: Run, space: Embedding, paths: Sequence[Path]) -> Known:
    """Reads images, for a decoder and for the embedding at the size of each.

    Args:
      run: the decoder.
      space: from `open_space`.
      paths: see `genjax.data.given.read_given`.

    Returns:
      The images.

    Raises:
      UserError: nothing usable is there, or too much.
    """
    shown = read_given(paths, run.algorithm.spec.shape, MOST_IMAGES).images
    seen = read_given(paths, space.shape, MOST_IMAGES).images
    return Known(shown, space.embed_images(seen))


def text_difference(space: Embedding, old: str, new: str) -> Float[np.ndarray, "size"]:
    """The direction from one text to another, ``(z_new - z_old) / |z_new - z_old|``.

    Args:
      space: of the texts.
      old: what an image shows.
      new: what it is to show.

    Returns:
      float32 [size].

    Raises:
      UserError: the texts are embedded alike.

    Reference: Ramesh et al. 2022, section 3.3.
    """
    before, after = space.embed_texts([old, new])
    size = np.linalg.norm(after - before)
    if size < 1e-6:
        raise UserError(f"{old!r} and {new!r} are embedded alike; give other texts")
    found: Float[np.ndarray, "size"] = (after - before) / size
    return found


def way(
    first: Embeddings, second: Embeddings, frames: int, most: float = 1.0
) -> Float[np.ndarray, "n frames size"]:
    """Embeddings along great circles.

    Args:
      first: where ways begin, of length 1.
      second: where they lead.
      frames: on each way, both ends included.
      most: how far they go, as a share of the whole.

    Returns:
      float32 [n, frames, size].

    Reference: Ramesh et al. 2022, sections 3.2 and 3.3.
    """
    a, b = jnp.asarray(first), jnp.asarray(second)
    shares = np.linspace(0, most, frames)
    return np.stack([np.asarray(slerp(a, b, float(share))) for share in shares], axis=1)


def vary(
    run: Run, embeddings: Embeddings, seeds: Sequence[int], progress: Progress = no_progress
) -> UInt8[np.ndarray, "n seeds height width channels"]:
    """Makes images of embeddings, of other noise each.

    Args:
      run: the decoder.
      embeddings: of length 1.
      seeds: of the noise; image i begins with the latent of sample i of each.
      progress: shows how far the work is.

    Returns:
      The images of each; none depends on the other embeddings or seeds.

    Reference: Ramesh et al. 2022, section 3.1, without the noise of the image itself.
    """
    paint = _painter(run)
    some = progress(seeds, "variations", len(seeds))
    return np.stack([paint(embeddings, seed, None) for seed in some], axis=1)


def walk(
    run: Run,
    ways: Float[np.ndarray, "n frames size"],
    seed: int,
    noise: tuple[Noise, Noise] | None,
    progress: Progress = no_progress,
) -> UInt8[np.ndarray, "n frames height width channels"]:
    """Makes an image of each embedding of some ways.

    Args:
      run: the decoder.
      ways: from `way`.
      seed: of the noise, which is the same all along a way.
      noise: latents at both ends of each way, [n, numbers], between which it goes along a great
        circle; None draws it.
      progress: shows how far the work is.

    Returns:
      The images.
    """
    paint, frames = _painter(run), ways.shape[1]
    made = []
    for number in progress(range(frames), "frames", frames):
        share = number / max(frames - 1, 1)
        latents = None
        if noise is not None:
            latents = slerp(jnp.asarray(noise[0]), jnp.asarray(noise[1]), share)
        made.append(paint(ways[:, number], seed, latents))
    return np.stack(made, axis=1)


def noise_of(run: Run, known: Known) -> Noise:
    """The latents from which a decoder comes to images by their embeddings, without captions."""
    return find_latents(run, known.images, _without_captions(run, known.embeddings))


def _without_captions(run: Run, embeddings: Embeddings) -> HostCondition:
    spec = run.algorithm.spec
    condition = {EMBEDDING: np.asarray(embeddings, np.float32)}
    if CAPTION in spec.given:
        length = spec.fields[CAPTION].shape[-1]
        condition[CAPTION] = np.full((len(embeddings), 1, length), -1, np.int32)
    return condition


def _painter(run: Run) -> Any:
    """``(embeddings, seed, latents) -> images``."""
    latent, domain = latent_of(run), domain_of(run.schema.domain)

    def decoded(state: State, z: Array, key: Key, index: Index, given: Condition) -> Array:
        return domain.to_stored(latent.decode(state, z, key, index, given))

    compiled, draw = jit(decoded), jit(latent.draw)

    def paint(embeddings: Embeddings, seed: int, latents: Array | None) -> np.ndarray:
        key, index = jax.random.key(seed), jnp.arange(len(embeddings), dtype=jnp.int32)
        z = draw(key, index) if latents is None else latents
        given = _without_captions(run, embeddings)
        return np.asarray(compiled(run.state, z, key, index, given))

    return paint
