"""Inputs and parameters of denoising networks, to compare them with PyTorch's."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from genjax.nn.descriptions import Description

KEY = jax.random.key(5)
RNG = np.random.default_rng(0)
CLASSES = 3


def inputs(side=8, channels=2, classes=CLASSES, batch=2):
    """Images, their levels of noise, and labels of which one is none."""
    x = jnp.float32(RNG.normal(size=(batch, side, side, channels)))
    noise = jnp.float32(RNG.normal(size=batch))
    return x, noise, jnp.arange(batch) + classes - batch + 1 if classes else None


def description(batch=2, vector=5, tokens=4, units=6):
    """Of as many examples; not all tokens are there, and none of the last's."""
    present = np.arange(tokens) < np.arange(batch)[::-1, None] * 2
    return Description(
        jnp.float32(RNG.normal(size=(batch, vector))),
        jnp.float32(RNG.normal(size=(batch, tokens, units))),
        jnp.asarray(present),
    )


def draw_all(network, x, *given):
    """Variables of which none is at a special value; those of matrices keep the scale of maps."""

    def value(path, p):
        fan = math.prod(p.shape[:-1]) if path[-1].key == "kernel" else 4
        return jnp.float32(RNG.normal(size=p.shape) / fan**0.5)

    variables = jax.eval_shape(lambda: network.init(KEY, x, False, *given))
    return jax.tree_util.tree_map_with_path(value, variables)


def draw(network, x, noise, labels):
    """The parameters alone, of a network that has nothing else."""
    variables = draw_all(network, x, noise, labels)
    assert set(variables) == {"params"}
    return variables["params"]


def close(actual, wanted, least=0.0):
    actual, wanted = np.asarray(actual), np.asarray(wanted)
    assert actual.shape == wanted.shape
    most = max(np.abs(wanted).max(), least)
    np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-4 * most)


def equals(torch, network, config, theirs, given, told=None, least=0.0):
    """Compares output and gradients, by the image and by all parameters, with PyTorch's.

    The image may have maps beside its channels.

    `theirs` is called with torch, the configuration, the parameters and other collections, the
    image [batch, channels, side, side] or vector [batch, numbers], and the noise, labels and
    description as they are given. Gradients that are 0 are so to 1e-4 of `least`.
    """
    x, noise, labels = given
    others = draw_all(network, *given, None, told)
    params = others.pop("params")
    channels = getattr(network, "channels", x.shape[-1])
    weight = jnp.float32(RNG.normal(size=(*x.shape[:-1], channels)))

    def loss(params, x):
        made = network.apply({"params": params, **others}, x, True, noise, labels, None, told)
        return jnp.sum(made * weight), made

    gradients, made = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, x)
    assert made.dtype == jnp.float32
    double = jax.tree.map(lambda p: torch.tensor(np.float64(p), requires_grad=True), params)
    image = torch.tensor(np.float64(x)).movedim(-1, 1).requires_grad_()
    fixed = jax.tree.map(lambda p: torch.tensor(np.float64(p)), others)
    expected = theirs(torch, config, {**double, **fixed}, image, noise, labels, told)
    expected = expected.movedim(1, -1)
    (expected * torch.tensor(np.float64(weight))).sum().backward()
    close(made, expected.detach())
    close(gradients[1], image.grad.movedim(1, -1))
    jax.tree.map(lambda ours, p: close(ours, p.grad, least), gradients[0], double)
