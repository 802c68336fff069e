"""The fast forms of convolution against XLA's own and against PyTorch-style index arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.nn import conv

FORMS = {
    "fast_conv": (conv.fast_conv, conv.stock_conv),
    "patch_conv": (conv.patch_conv, conv.stock_conv),
    "conv": (conv.conv, conv.stock_conv),
    "fast_conv_transpose": (conv.fast_conv_transpose, conv.stock_conv_transpose),
    "patch_conv_transpose": (conv.patch_conv_transpose, conv.stock_conv_transpose),
    "conv_transpose": (conv.conv_transpose, conv.stock_conv_transpose),
}
SIZES = [(7, 9), (6, 12)]


def everything(operation, x, kernel, stride):
    """Output, both gradients, and the gradient of a gradient penalty."""
    weights = jnp.cos(jnp.arange(operation(x, kernel, stride).size, dtype=jnp.float32))

    def value(x, kernel):
        y = operation(x, kernel, stride)
        return jnp.sum(jnp.sin(y) * weights.reshape(y.shape))

    def penalty(x, kernel):
        return jnp.sum(jax.grad(value)(x, kernel) ** 2)

    gradients = jax.grad(value, (0, 1))(x, kernel)
    return operation(x, kernel, stride), gradients, jax.grad(penalty, (0, 1))(x, kernel)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_equals_stock(form, stride, size):
    operation, stock = FORMS[form]
    generator = np.random.default_rng(size)
    for height, width in SIZES:
        if form == "fast_conv" and (height % stride or width % stride):
            continue
        x = jnp.asarray(generator.normal(size=(2, height, width, 3)), jnp.float32)
        kernel = jnp.asarray(generator.normal(size=(size, size, 3, 4)), jnp.float32)
        actual = jax.jit(everything, static_argnums=(0, 3))(operation, x, kernel, stride)
        wanted = jax.jit(everything, static_argnums=(0, 3))(stock, x, kernel, stride)
        for a, w in zip(jax.tree.leaves(actual), jax.tree.leaves(wanted), strict=True):
            assert a.shape == w.shape
            np.testing.assert_allclose(a, w, rtol=1e-4, atol=2e-5 * float(jnp.abs(w).max()))


def test_conv_by_hand():
    """A 'SAME' convolution written out as sums, in float64."""
    generator = np.random.default_rng(0)
    x, kernel = generator.normal(size=(1, 6, 6, 2)), generator.normal(size=(5, 5, 2, 3))
    padded = np.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)))
    wanted = np.zeros((1, 3, 3, 3))
    for i in range(3):
        for j in range(3):
            window = padded[0, 2 * i : 2 * i + 5, 2 * j : 2 * j + 5]
            wanted[0, i, j] = np.einsum("hwc,hwco->o", window, kernel)
    actual = conv.conv(jnp.float32(x), jnp.float32(kernel), 2)
    np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_vmap_over_kernels(form):
    """Several models at once, as when seeds are trained together."""
    operation, stock = FORMS[form]
    generator = np.random.default_rng(1)
    x = jnp.asarray(generator.normal(size=(2, 3, 4, 4, 3)), jnp.float32)
    kernels = jnp.asarray(generator.normal(size=(2, 5, 5, 3, 4)), jnp.float32)
    actual = jax.vmap(lambda x, k: operation(x, k, 2))(x, kernels)
    for number in range(2):
        wanted = stock(x[number], kernels[number], 2)
        np.testing.assert_allclose(actual[number], wanted, rtol=1e-4, atol=1e-4)
