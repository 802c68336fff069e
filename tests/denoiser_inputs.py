"""Inputs and parameters of denoising networks, to compare them with PyTorch's."""

import math

import jax
import jax.numpy as jnp
import numpy as np

KEY = jax.random.key(5)
RNG = np.random.default_rng(0)
CLASSES = 3


def inputs(side=8, channels=2, classes=CLASSES, batch=2):
    """Images, their levels of noise, and labels of which one is none."""
    x = jnp.float32(RNG.normal(size=(batch, side, side, channels)))
    noise = jnp.float32(RNG.normal(size=batch))
    return x, noise, jnp.arange(batch) + classes - batch + 1 if classes else None


def draw(network, x, noise, labels):
    """Parameters of which none is at a special value; those of matrices keep the scale of maps."""

    def value(path, p):
        fan = math.prod(p.shape[:-1]) if path[-1].key == "kernel" else 4
        return jnp.float32(RNG.normal(size=p.shape) / fan**0.5)

    variables = jax.eval_shape(lambda: network.init(KEY, x, False, noise, labels))
    return jax.tree_util.tree_map_with_path(value, variables["params"])


def close(actual, wanted):
    actual, wanted = np.asarray(actual), np.asarray(wanted)
    assert actual.shape == wanted.shape
    np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
