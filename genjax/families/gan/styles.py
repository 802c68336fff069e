"""Generators of styles: mixing and truncating them, and the regularisation of path lengths."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.config import GANSampling
from genjax.core.algorithm import ema_update, pmean
from genjax.core.players import apply_training
from genjax.core.rng import example_keys, latents, stream
from genjax.core.types import Embedding, Examples, Index, Key, Params, Variables
from genjax.errors import UserError

Styles = Float[Array, "batch layers style"]
Scalar = Float[Array, ""]

_PATH_DECAY = 0.99
_PATH_SHARE = 2


def has_styles(network: Any) -> bool:
    """Whether a generator maps z to styles."""
    return hasattr(network.decoder, "synthesize")


def check_sampling(network: Any, sampling: GANSampling) -> None:
    """Refuses options that a generator does not have.

    Args:
      network: the generator.
      sampling: how its samples are drawn.

    Raises:
      UserError: it has no styles, or fewer layers, or none of them is truncated.
    """
    usual = GANSampling()
    if has_styles(network):
        count = network.decoder.count
        if sampling.cutoff is not None and sampling.cutoff > count:
            raise UserError(f"--cutoff is {sampling.cutoff}; this generator has {count} layers")
        if sampling.cutoff is not None and sampling.psi == usual.psi:
            raise UserError(
                f"--cutoff is {sampling.cutoff}, but --psi is 1, which truncates nothing; set --psi"
            )
        return
    for name in ("psi", "cutoff", "noise"):
        if getattr(sampling, name) != getattr(usual, name):
            raise UserError(
                f"--{name} is {getattr(sampling, name)}, but this generator has no styles; leave "
                "it out"
            )


def repeat_style(network: Any, w: Float[Array, "batch style"]) -> Styles:
    """Gives all layers of a generator the same style."""
    return jnp.repeat(w[:, None], network.decoder.count, axis=1)


def mix_styles(styles: Styles, others: Styles, probability: float, keys: Any) -> Styles:
    """Takes other styles from a layer on, which is drawn for each example.

    Args:
      styles: of the first layers.
      others: of the further ones.
      probability: that an example is mixed at all.
      keys: [batch], of the draws.

    Returns:
      The styles.

    Reference: Karras et al. 2019, section 3.1. The authors' code draws once for a whole batch.
    """
    count = styles.shape[1]

    def first_of_others(key: Key) -> Array:
        mixed = jax.random.bernoulli(stream(key, "mixed"), probability)
        return jnp.where(mixed, jax.random.randint(stream(key, "layer"), (), 1, count), count)

    cut = jax.vmap(first_of_others)(keys)
    own = jnp.arange(count) < cut[:, None]
    return jnp.where(own[..., None], styles, others)


def draw_styles(
    network: Any,
    params: Params,
    variables: Variables,
    z: Float[Array, "batch latent"],
    condition: Embedding | None,
    mixing: float,
    key: Key,
    place: Index,
) -> tuple[Styles, Variables]:
    """Maps z to styles in training, mixed if asked for.

    Args:
      network: the generator.
      params: its parameters.
      variables: its other collections.
      z: [batch, latent].
      condition: of the images.
      mixing: probability of `mix_styles`.
      key: of what is drawn.
      place: int32 [batch], of the examples in the whole batch.

    Returns:
      The styles, and the other collections afterwards.
    """
    w, changed = apply_training(network, params, variables, z, condition, method="map")
    styles = repeat_style(network, w)
    if mixing:
        other = latents(stream(key, "other latent"), place, z.shape[-1])
        everything = {"params": params, **variables}
        w = network.apply(everything, other, False, condition, method="map")
        keys = example_keys(stream(key, "style mixing"), place)
        styles = mix_styles(styles, repeat_style(network, w), mixing, keys)
    return styles, changed


def noise_keys(key: Key, place: Index) -> Any:
    """The keys of the noise that G adds, one an example."""
    return example_keys(stream(key, "noise"), place)


def truncate(styles: Styles, mean: Float[Array, "style"], psi: float, cutoff: int | None) -> Styles:
    """``mean + psi (w - mean)`` for the first layers, or all.

    Args:
      styles: [batch, layers, style].
      mean: of w.
      psi: 0 makes all images alike, 1 changes nothing.
      cutoff: how many layers; None for all.

    Returns:
      The styles.

    Reference: Karras et al. 2019, section 2.
    """
    some = jnp.arange(styles.shape[1]) < (styles.shape[1] if cutoff is None else cutoff)
    return jnp.where(some[:, None], mean + psi * (styles - mean), styles)


class Painter(NamedTuple):
    """What a term of G's loss may look at.

    Attributes:
      styles: of some examples.
      paint: from styles to images.
      mean: running mean that the term keeps.
      key: of the term's draws.
      place: int32 [batch], of the examples in the whole batch.
      axis_name: mapped axis over the devices, if any.
    """

    styles: Styles
    paint: Callable[[Styles], Examples]
    mean: Scalar
    key: Key
    place: Index
    axis_name: str | None


def path_length(painter: Painter) -> tuple[Scalar, Scalar]:
    """``(|J^T y| - a)^2``: how far a step in w changes the image, against its running mean a.

    J is the Jacobian of the image by the styles of all layers, ``y ~ N(0, I) / side``; lengths are
    the root of the mean over layers, and a moves to their mean before it is compared.

    Args:
      painter: what it looks at.

    Returns:
      The mean over the examples, and the new a.

    Reference: Karras et al. 2020, section 3.2 and appendix B; its weight there is 2.
    """
    images, pull = jax.vjp(painter.paint, painter.styles)
    keys = example_keys(painter.key, painter.place)
    noise = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys)
    (gradient,) = pull((noise / jnp.sqrt(images.shape[1] * images.shape[2])).astype(images.dtype))
    lengths = jnp.sqrt(jnp.mean(jnp.sum(jnp.square(gradient), axis=2), axis=1))
    mean = ema_update(painter.mean, pmean(jnp.mean(lengths), painter.axis_name), _PATH_DECAY)
    return jnp.mean(jnp.square(lengths - mean)), mean


GENERATOR_PENALTIES: dict[str, Callable[[Painter], tuple[Scalar, Scalar]]] = {
    "path_length": path_length
}
"""Terms of G's loss: their mean over the examples, and the running mean that they keep."""


def share_of_batch(tree: Any) -> Any:
    """Every second example of a batch, which such terms are content with."""
    return jax.tree.map(lambda x: x[::_PATH_SHARE], tree)


def generator_terms(
    weights: Mapping[str, tuple[float, int]],
    term: Callable[[Params, str, Scalar], tuple[Scalar, Scalar]],
    params: Params,
    number: Any,
    latest: Mapping[str, Mapping[str, Scalar]],
) -> tuple[Params, dict[str, dict[str, Scalar]]]:
    """The gradient of G's terms in one update.

    A term of interval n is computed in every n-th update and weighted by n, as those of D are.

    Args:
      weights: weight and interval of each term, by name.
      term: ``(params, name, mean) -> (value, mean)``.
      params: of G.
      number: int32 scalar, updates of G before this one.
      latest: of each term, its latest ``value`` and its running ``mean``.

    Returns:
      The gradient by the parameters, and the new `latest`.
    """
    total: Params = jax.tree.map(jnp.zeros_like, params)
    moved: dict[str, dict[str, Scalar]] = {}
    for name, (weight, interval) in weights.items():
        before = latest[name]

        def compute(
            name: str = name, before: Mapping[str, Scalar] = before
        ) -> tuple[Params, dict[str, Scalar]]:
            (value, mean), grads = jax.value_and_grad(term, has_aux=True)(
                params, name, before["mean"]
            )
            return grads, {"value": value, "mean": jax.lax.stop_gradient(mean)}

        def skip(before: Mapping[str, Scalar] = before) -> tuple[Params, dict[str, Scalar]]:
            return jax.tree.map(jnp.zeros_like, params), dict(before)

        due = number % interval == 0
        grads, moved[name] = compute() if interval == 1 else jax.lax.cond(due, compute, skip)
        total = jax.tree.map(lambda t, g, w=weight * interval: t + w * g, total, grads)
    return total, moved


def style_kernels(network: Any, params: Params) -> list[Array]:
    """Of each layer, the matrix [style, channels] that makes its style of w.

    Where the layer to an image shares its w with that of the next convolution, it is the latter's.
    """
    synthesis = params["decoder"]["synthesis"]
    sides = network.decoder.sides
    names = [f"conv{sides[0]}"]
    for side in sides[1:]:
        names += [f"conv{side}_up", f"conv{side}"]
    names.append(f"to_image{sides[-1]}")
    return [synthesis[name]["conv"]["affine"]["kernel"] for name in names]


def first_kernels(params: Params, size: int) -> list[Array]:
    """Of a decoder of z, its first layer's matrix [latent, units].

    Raises:
      UserError: it has no such layer that sees all of z.
    """
    kernel = params["decoder"].get("Dense_0", {}).get("kernel")
    if kernel is None or kernel.shape[0] < size:
        raise UserError(
            "directions are of a first layer that sees all of z, which this generator lacks, as a "
            "hierarchical BigGAN does; genjax interpolate draws what lies between its latents"
        )
    return [kernel[:size]]


def sample_styles(
    network: Any,
    variables: Variables,
    z: Float[Array, "batch latent"],
    condition: Embedding | None,
    sampling: GANSampling,
) -> Styles:
    """Maps z to styles for samples, truncated if asked for."""
    w = network.apply(variables, z, False, condition, method="map")
    styles = repeat_style(network, w)
    if sampling.psi == 1:
        return styles
    mean = variables["batch_stats"]["decoder"]["mean"]
    return truncate(styles, mean, sampling.psi, sampling.cutoff)


def paint(
    network: Any,
    variables: Variables,
    styles: Styles,
    sampling: GANSampling,
    key: Key,
    index: Index,
) -> Examples:
    """Makes samples of styles, with the noise that is asked for."""
    decoder = network.decoder.clone(noise=sampling.noise)
    keys = noise_keys(key, index) if sampling.noise == "random" else None
    images: Examples = network.clone(decoder=decoder).apply(
        variables, styles, False, keys, method="synthesize"
    )
    return images


def fixed_noise(variables: Variables) -> dict[str, Array]:
    """The maps of noise that all samples may share, [height, width], by the layer's name."""
    layers = variables.get("noise", {}).get("decoder", {}).get("synthesis", {})
    return {name: layer["const"] for name, layer in layers.items()}


def paint_with_noise(
    network: Any, variables: Variables, styles: Styles, maps: Mapping[str, Array]
) -> Examples:
    """Makes examples of styles and of maps of noise, without clipping them.

    Args:
      network: the generator.
      variables: its collections.
      styles: [batch, layers, style].
      maps: from layer to [batch, height, width], see `fixed_noise`.

    Returns:
      The examples, of any range.
    """
    alike = network.clone(decoder=network.decoder.clone(noise="const"))

    def one(styles: Array, maps: Mapping[str, Array]) -> Array:
        layers = {name: {"const": map_} for name, map_ in maps.items()}
        own = {**variables, "noise": {"decoder": {"synthesis": layers}}} if maps else variables
        # Only in training are examples left as they are.
        images: Array = alike.apply(own, styles[None], True, None, method="synthesize")
        return images[0]

    examples: Examples = jax.vmap(one)(styles, dict(maps))
    return examples
