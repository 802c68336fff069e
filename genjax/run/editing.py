"""Images that a run's model makes of given ones without more training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from genjax.core.algorithm import Editing
from genjax.core.compiler import jit
from genjax.core.types import Condition, Images, Key, RawImages, State
from genjax.data import images as pictures
from genjax.data.folders import read_bytes
from genjax.data.progress import Progress, no_progress
from genjax.domains.image import quantize_images, scale_images
from genjax.errors import UserError
from genjax.run.interpolation import slerp
from genjax.run.latents import latent_of
from genjax.run.opening import Run
from genjax.run.sampling import HostCondition

_USUAL_JUMPS = 25
"""Jumps in all steps: those of 10 in 250, as in the paper of RePaint."""
_MIDDLE = 128

Given = UInt8[np.ndarray, "n height width channels"]
Known = Bool[np.ndarray, "height width 1"]


class SDEdit(NamedTuple):
    """Images are noised, and denoised again.

    Attributes:
      strength: how much of the noise that samples begin with, in [0, 1].
    """

    strength: float


class RePaint(NamedTuple):
    """What is unknown is made anew in agreement with the rest, by going back and forth.

    Attributes:
      known: the pixels that stay.
      resamplings: how often it goes through the same times, at least 1.
      jump: steps that it goes back; None for a 25th of all, as in the paper.
    """

    known: Known
    resamplings: int = 10
    jump: int | None = None


class Guided(NamedTuple):
    """What is unknown is made anew, by the gradient of what is said of the rest.

    Attributes:
      known: the pixels that stay.
      weight: of the gradient, at least 0; 1 is that of noise alone (Ho et al. 2022).
    """

    known: Known
    weight: float = 5.0


Change = SDEdit | RePaint | Guided


class Inversion(NamedTuple):
    """Images as latents.

    Attributes:
      latents: float32 [n, size].
      images: uint8 [n, height, width, channels], made of them.
    """

    latents: Float[np.ndarray, "n size"]
    images: Given


def editing_of(run: Run) -> Editing:
    """What a run's model has for given images; raises UserError where it has nothing."""
    editing = run.algorithm.editing
    if editing is None:
        raise UserError(
            f"{run.experiment.name!r} has no estimate of images at every share of noise, by which "
            "they are edited; name a run of the family diffusion that learnt from images, not from "
            "another run's latents"
        )
    return editing


def read_mask(mask: str, shape: tuple[int, ...]) -> Known:
    """Which pixels stay where others are made anew.

    Args:
      mask: ``left,top,right,bottom`` of a box that is made anew, in pixels from the upper left
        corner, right and bottom not within it; or a PNG or JPEG that is white where images are
        made anew and black where they stay.
      shape: of an image, height, width and channels.

    Returns:
      True for those that stay.

    Raises:
      UserError: it is not of the size of the images, or lets nothing or everything stay.
    """
    height, width, _ = shape
    known = np.ones((height, width, 1), bool)
    numbers = mask.split(",")
    if len(numbers) == 4 and all(x.strip().isdecimal() and len(x) < 10 for x in numbers):
        left, top, right, bottom = map(int, numbers)
        if not (left < right <= width and top < bottom <= height):
            raise UserError(
                f"--mask is {mask}, which is no box within {width} x {height} pixels; the lower "
                f"half is 0,{height // 2},{width},{height}"
            )
        known[top:bottom, left:right] = False
    else:
        found = pictures.decode(read_bytes(Path(mask)), 1, mask)
        if found.shape[:2] != (height, width):
            raise UserError(
                f"{mask} has {found.shape[1]} x {found.shape[0]} pixels, and images of this run "
                f"{width} x {height}; give a mask of that size"
            )
        known = found < _MIDDLE
    if known.all() or not known.any():
        what = "everything" if known.all() else "nothing"
        raise UserError(
            f"--mask {mask} lets {what} stay; a picture is white where images are made anew, and "
            "black where they stay"
        )
    return known


def masked(images: Given, known: Known) -> Given:
    """Images that are grey where they are not known."""
    return np.where(known, images, np.uint8(_MIDDLE))


def edit(
    run: Run,
    images: Given,
    condition: HostCondition,
    change: Change,
    seeds: Sequence[int],
    progress: Progress = no_progress,
) -> UInt8[np.ndarray, "n seeds height width channels"]:
    """Changes images.

    Args:
      run: from `genjax.run.latents.open_for_images`.
      images: to change, of the run's shape.
      condition: what the results are made from beside noise, [n] each.
      change: how.
      seeds: of the noise, one a result; image i begins with the latent of sample i of each.
      progress: shows how far the work is.

    Returns:
      The results of each image; none depends on the other images or seeds.

    Raises:
      UserError: a model without an estimate of the data, or a change that does not fit the run's
        way of sampling.
    """
    editing, latent = editing_of(run), latent_of(run)
    index = jnp.arange(len(images), dtype=jnp.int32)

    def changed(state: State, stored: RawImages, key: Key, given: Condition) -> RawImages:
        z, x = latent.draw(key, index), scale_images(stored)
        if isinstance(change, SDEdit):
            made = editing.sdedit(state, z, x, key, index, given, change.strength)
        elif isinstance(change, RePaint):
            jump = change.jump or max(1, run.sampling["steps"] // _USUAL_JUMPS)
            known = jnp.asarray(change.known)
            often = change.resamplings
            made = editing.repaint(state, z, x, known, key, index, given, jump, often)
        else:
            known = jnp.asarray(change.known)
            made = editing.guide(state, z, x, known, key, index, given, change.weight)
        return quantize_images(made)

    make, given = jit(changed), _on_device(condition)
    results = [
        np.asarray(make(run.state, images, jax.random.key(seed), given))
        for seed in progress(seeds, "results", len(seeds))
    ]
    return np.stack(results, axis=1)


def find_latents(run: Run, images: Given, condition: HostCondition) -> Float[np.ndarray, "n size"]:
    """Finds latents by the sampler's equation, run backwards.

    Args:
      run: from `genjax.run.latents.open_for_images`.
      images: to invert, of the run's shape.
      condition: what they are made from beside the latent, [n] each.

    Returns:
      The latents.

    Raises:
      UserError: a model without an estimate of the data, or a solver that can't go backwards.
    """
    editing = editing_of(run)

    def back(state: State, stored: RawImages, given: Condition) -> Array:
        return editing.invert(state, scale_images(stored), given)

    return np.asarray(jit(back)(run.state, images, _on_device(condition)))


def invert(run: Run, images: Given, condition: HostCondition) -> Inversion:
    """`find_latents`, and what becomes of the images when they are made of these again."""
    latents = find_latents(run, images, condition)
    return Inversion(latents, _decoder(run, condition, len(images))(latents))


def between(
    run: Run, found: Inversion, condition: HostCondition, frames: int
) -> UInt8[np.ndarray, "ways frames height width channels"]:
    """Images on the ways from each inverted image to the next, along great circles of latents.

    Args:
      run: that inverted them.
      found: by `invert`, two images or more.
      condition: what they are made from; the same for all.
      frames: on each way, both ends included, at least 2.

    Returns:
      The images of each way.
    """
    latents = jnp.asarray(found.latents)
    first, second = latents[:-1], latents[1:]
    decode = _decoder(run, {name: rows[:-1] for name, rows in condition.items()}, len(first))
    shares = np.linspace(0, 1, frames)
    return np.stack([decode(slerp(first, second, float(share))) for share in shares], axis=1)


def _decoder(run: Run, condition: HostCondition, count: int) -> Any:
    latent, given = latent_of(run), _on_device(condition)
    key, index = jax.random.key(0), jnp.arange(count, dtype=jnp.int32)

    def decoded(state: State, z: Array, given: Condition) -> RawImages:
        images: Images = latent.decode(state, z, key, index, given)
        return quantize_images(images)

    compiled = jit(decoded)
    return lambda z: np.asarray(compiled(run.state, z, given))


def _on_device(condition: HostCondition) -> dict[str, Array]:
    return {name: jnp.asarray(rows) for name, rows in condition.items()}
