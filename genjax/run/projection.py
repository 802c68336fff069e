"""Projection: the latents whose samples come closest to given images."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, UInt8

from genjax.core.algorithm import Latent
from genjax.core.compiler import jit
from genjax.core.rng import example_keys, stream
from genjax.core.tensors import save_tensors
from genjax.core.types import Images, Number, State
from genjax.data.progress import Progress, no_progress
from genjax.domains.image import quantize_images, scale_images
from genjax.errors import UserError
from genjax.evals.features import FeatureNetwork
from genjax.run.latents import draw_codes, latent_of
from genjax.run.opening import Run
from genjax.run.sampling import HostCondition

Space = Literal["z", "w", "w+"]

RATE = 0.1
"""Step size of Adam, before its ramps."""

_NOISE = 0.05
_NOISE_END = 0.75
_RAMP_UP = 0.05
_RAMP_DOWN = 0.25
_MAPS_WEIGHT = 1e5
_SMALLEST_MAP = 8

# Flax does not type it.
_means: Any = nn.avg_pool

Maps = Mapping[str, Float[Array, "batch height width"]]


class Search(NamedTuple):
    """How codes are looked for.

    Attributes:
      steps: of Adam.
      seed: of the noise that is added to codes, and of the first maps of noise.
      space: z; w, the same style in all layers; or w+, one for each. None is w where there is one.
      maps: whether the maps of noise are looked for, too.
    """

    steps: int = 1000
    seed: int = 0
    space: Space | None = None
    maps: bool = False


class Projection(NamedTuple):
    """What was found.

    Attributes:
      codes: float32 [n, layers, style] of w and w+, [n, latent] of z.
      maps: of noise by layer, float32 [n, height, width]; none if they were not looked for.
      images: uint8 [n, height, width, channels], made of them.
      start: distances of the first samples, float32 [n].
      distances: of `images` before they were rounded, float32 [n].
      space: of the codes.
    """

    codes: Float[np.ndarray, "n ..."]
    maps: Mapping[str, np.ndarray]
    images: UInt8[np.ndarray, "n height width channels"]
    start: Float[np.ndarray, "n"]
    distances: Float[np.ndarray, "n"]
    space: Space


def step_size(time: Number) -> Float[Array, ""]:
    """``0.1 min(1, t / 0.05) (1 - cos(pi min(1, (1 - t) / 0.25))) / 2`` for t in [0, 1].

    Reference: Karras et al. 2020, appendix D.
    """
    down = 0.5 - 0.5 * jnp.cos(jnp.pi * jnp.minimum(1.0, (1 - time) / _RAMP_DOWN))
    return RATE * down * jnp.minimum(1.0, time / _RAMP_UP)


def noise_share(time: Number) -> Float[Array, ""]:
    """``0.05 max(0, 1 - t / 0.75)^2``: of the codes' spread, the noise that is added to them.

    Reference: Karras et al. 2020, appendix D.
    """
    return _NOISE * jnp.square(jnp.maximum(0.0, 1 - time / _NOISE_END))


def maps_penalty(maps: Maps) -> Float[Array, "batch"]:
    """Squared autocorrelation of maps of noise at a distance of one pixel, at all scales.

    ``sum_maps,scales mean(m m_right)^2 + mean(m m_below)^2``; each scale halves the map by means of
    2 x 2 until it has 8 pixels or fewer, and its edges meet.

    Args:
      maps: by layer.

    Returns:
      The sum for each example.

    Reference: Karras et al. 2020, appendix D; its weight there is 1e5.
    """
    total: Array = jnp.zeros(())
    for own in maps.values():
        scaled = own
        while True:
            for axis in (1, 2):
                product = scaled * jnp.roll(scaled, 1, axis=axis)
                total = total + jnp.square(jnp.mean(product, axis=(1, 2)))
            if scaled.shape[1] <= _SMALLEST_MAP:
                break
            scaled = _means(scaled[..., None], (2, 2), (2, 2))[..., 0]
    return total


def normalize_maps(maps: Maps) -> dict[str, Array]:
    """Maps of mean 0 and second moment 1."""

    def normal(own: Array) -> Array:
        centred = own - jnp.mean(own, axis=(1, 2), keepdims=True)
        return centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=(1, 2), keepdims=True))

    return {name: normal(own) for name, own in maps.items()}


class View(NamedTuple):
    """What two images are compared by.

    Attributes:
      features: of the network; None without one.
      pixels: of the images, and of smaller ones.
    """

    features: Float[Array, "batch d"] | None
    pixels: tuple[Images, ...]


def view_images(network: FeatureNetwork | None, images: Images) -> View:
    """Looks at images.

    Args:
      network: a traceable feature network of images, or None for pixels alone.
      images: in [-1, 1].

    Returns:
      Features, and means over cells of 1, 2, 4, ... pixels a side, as many as the image is wider
      than; cells at the edge may be smaller.
    """
    features = None
    if network is not None:
        features = network.apply(network.variables, (images + 1) * 127.5).features
    scales = range((min(images.shape[1:3]) - 1).bit_length())
    cells = [(2**scale, 2**scale) for scale in scales] or [(1, 1)]
    pixels = [_means(images, size, size, "SAME", count_include_pad=False) for size in cells]
    return View(features, tuple(pixels))


def view_distance(view: View, target: View) -> Float[Array, "batch"]:
    """``|f - f*|^2 / |f*|^2 + sum_scales mean (x - x*)^2``, with the star the target's.

    Args:
      view: of the images.
      target: of what they are to look like.

    Returns:
      The distance for each image; the first term is left out where there is no network.
    """
    axes = (1, 2, 3)
    total: Array = jnp.zeros(())
    for own, wanted in zip(view.pixels, target.pixels, strict=True):
        total = total + jnp.mean(jnp.square(own - wanted), axis=axes)
    if view.features is not None and target.features is not None:
        size = jnp.maximum(jnp.sum(jnp.square(target.features), axis=1), 1e-8)
        apart = jnp.sum(jnp.square(view.features - target.features), axis=1)
        total = total + apart / size
    return total


def check_search(run: Run, search: Search) -> Space:
    """The space of a search; raises UserError for what the run's model does not have."""
    latent = latent_of(run)
    spaces: tuple[Space, ...] = ("w", "w+") if latent.styled else ("z",)
    if search.space is not None and search.space not in spaces:
        raise UserError(
            f"--space is {search.space}, which codes of this model are not of; choices: "
            f"{', '.join(spaces)}"
        )
    if search.maps and not (latent.noise and latent.noise(run.state)):
        raise UserError("--optimize-noise is True, but this generator adds no noise; leave it out")
    return search.space or spaces[0]


def project(
    run: Run,
    images: UInt8[np.ndarray, "n height width channels"],
    condition: HostCondition,
    search: Search,
    network: FeatureNetwork | None = None,
    progress: Progress = no_progress,
) -> Projection:
    """Looks for the latents whose samples come closest to images.

    Codes start at the mean of 10,000 codes and make `steps` updates of Adam (0.9, 0.999) on
    `view_distance`, of a step size that `step_size` says; before each update noise is added to
    them, `noise_share` of their spread, the root of the sum of their variances. A generator's noise
    is that of its fixed maps. If maps are looked for, they start at N(0, 1), `maps_penalty` joins
    the loss at a weight of 1e5, and they are normalised after each update. Samples are clipped to
    [-1, 1], which in the authors' code they are not, but derivatives pass. No image's result
    depends on the others'.

    Args:
      run: from `genjax.run.latents.open_for_images`.
      images: to project, of the run's shape.
      condition: what each is made from beside the latent, [n] each.
      search: how.
      network: from stored images to features, see `view_images`; the published method looks through
        VGG16 instead (LPIPS).
      progress: shows how far the work is.

    Returns:
      What was found.

    Raises:
      UserError: a space or maps that the model does not have.

    Reference: Karras et al. 2020, appendix D, as the authors' code does it.
    """
    space = check_search(run, search)
    latent, count = latent_of(run), len(images)
    key, index = jax.random.key(search.seed), jnp.arange(count, dtype=jnp.int32)
    given = {name: jnp.asarray(rows) for name, rows in condition.items()}
    means, spreads = _midpoints(run, condition, count)
    layers = 0
    if latent.styled:
        first = {name: rows[:1] for name, rows in given.items()}
        shape = jax.eval_shape(
            lambda state: latent.encode(state, latent.draw(key, index[:1]), key, index[:1], first),
            run.state,
        ).shape
        layers = shape[1]
        means = np.repeat(means[:, None], layers if space == "w+" else 1, axis=1)

    def whole(code: Array) -> Array:
        """What is decoded: of w, the style of every layer."""
        return jnp.broadcast_to(code, (count, layers, code.shape[-1])) if layers else code

    def paint(state: State, found: Any) -> Array:
        if latent.fit is None:
            return latent.decode(state, found["code"], key, index, given)
        assert latent.noise is not None
        maps = {
            name: jnp.broadcast_to(own, (count, *own.shape))
            for name, own in latent.noise(state).items()
        }
        made = latent.fit(state, whole(found["code"]), found.get("maps", maps))
        # Samples are clipped; but where they are, their derivatives still lead back.
        return made + jax.lax.stop_gradient(jnp.clip(made, -1, 1) - made)

    def view(variables: Any, images: Images) -> View:
        return view_images(network and network._replace(variables=variables), images)

    def loss(found: Any, state: State, looks: Any, target: View, noise: Array) -> Array:
        noisy = {**found, "code": found["code"] + noise}
        total = view_distance(view(looks, paint(state, noisy)), target)
        total = total + _MAPS_WEIGHT * maps_penalty(found.get("maps", {}))
        return jnp.sum(total)

    adam = optax.scale_by_adam(0.9, 0.999)

    def update(
        state: State, looks: Any, target: View, found: Any, moments: Any, number: Array
    ) -> tuple[Any, Any]:
        time = number / search.steps
        keys = example_keys(stream(key, "projection", number), index)
        drawn = jax.vmap(lambda own: jax.random.normal(own, found["code"].shape[1:]))(keys)
        sizes = spreads.reshape(-1, *[1] * (drawn.ndim - 1)) * noise_share(time)
        grads = jax.grad(loss)(found, state, looks, target, drawn * sizes)
        changes, moments = adam.update(grads, moments)
        moved = jax.tree.map(lambda x, change: x - step_size(time) * change, found, changes)
        if "maps" in moved:
            moved["maps"] = normalize_maps(moved["maps"])
        return moved, moments

    def look(state: State, looks: Any, target: View, found: Any) -> tuple[Array, Array]:
        made = paint(state, found)
        return view_distance(view(looks, made), target), quantize_images(made)

    found: dict[str, Any] = {"code": jnp.asarray(means)}
    if search.maps:
        found["maps"] = _first_maps(latent, run.state, key, index)
    looks = None if network is None else jax.device_put(network.variables)
    target = jit(lambda looks, images: view(looks, scale_images(images)))(
        looks, jnp.asarray(images)
    )
    moments, move, see = adam.init(found), jit(update), jit(look)
    start, _ = see(run.state, looks, target, found)
    for number in progress(range(search.steps), "steps", search.steps):
        found, moments = move(run.state, looks, target, found, moments, jnp.int32(number))
    distances, made = see(run.state, looks, target, found)
    return Projection(
        np.asarray(whole(found["code"])),
        {name: np.asarray(own) for name, own in found.get("maps", {}).items()},
        np.asarray(made),
        np.asarray(start),
        np.asarray(distances),
        space,
    )


def _midpoints(run: Run, condition: HostCondition, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of codes [n, size] and their spreads [n], for what each image is made from."""
    known: dict[tuple[int, ...], tuple[np.ndarray, float]] = {}
    rows = [tuple(int(x[number]) for x in condition.values()) for number in range(count)]
    for row in dict.fromkeys(rows):
        own = {name: np.array([x], np.int32) for name, x in zip(condition, row, strict=True)}
        codes = draw_codes(run, own).astype(np.float64)
        mean = codes.mean(axis=0)
        known[row] = mean, float(np.sqrt(np.mean(np.sum(np.square(codes - mean), axis=1))))
    means, spreads = zip(*(known[row] for row in rows), strict=True)
    return np.array(means, np.float32), np.array(spreads, np.float32)


def _first_maps(latent: Latent, state: State, key: Array, index: Array) -> dict[str, Array]:
    assert latent.noise is not None

    def draw(name: str, shape: Sequence[int]) -> Array:
        keys = example_keys(stream(key, f"maps {name}"), index)
        return jax.vmap(lambda own: jax.random.normal(own, shape))(keys)

    return {name: draw(name, own.shape) for name, own in latent.noise(state).items()}


def save_projection(path: Path, found: Projection, names: Sequence[str]) -> None:
    """Writes codes and maps of noise.

    Args:
      path: of the file: ``codes``, and ``noise/layer`` for each map; the names of the images and
        the space are in its metadata.
      found: by `project`.
      names: of the images.
    """
    maps = {f"noise/{name}": np.ascontiguousarray(own) for name, own in found.maps.items()}
    part = path.with_suffix(".part")
    tensors = {"codes": np.ascontiguousarray(found.codes), **maps}
    save_tensors(tensors, part, {"space": found.space, "names": json.dumps(list(names))})
    part.replace(path)
