"""The fast forms of convolution against XLA's own and against PyTorch-style index arithmetic."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.core.compiler import traced_for
from genjax.nn import conv
from genjax.nn.conv_forms import (
    patch_conv,
    patch_conv_transpose,
    phase_conv_transpose,
    split_conv_transpose,
    stock_conv,
    stock_conv_transpose,
)

FORMS = {
    "fast_conv": (conv.fast_conv, stock_conv),
    "patch_conv": (patch_conv, stock_conv),
    "conv": (conv.conv, stock_conv),
    "fast_conv_transpose": (conv.fast_conv_transpose, stock_conv_transpose),
    "patch_conv_transpose": (patch_conv_transpose, stock_conv_transpose),
    "phases": (partial(phase_conv_transpose, join=False), stock_conv_transpose),
    "joined_phases": (partial(phase_conv_transpose, join=True), stock_conv_transpose),
    "split_conv_transpose": (split_conv_transpose, stock_conv_transpose),
    "conv_transpose": (conv.conv_transpose, stock_conv_transpose),
}
ODD, EVEN = (7, 9), (6, 12)


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


def compare(operation, stock, x, kernel, stride):
    actual = jax.jit(everything, static_argnums=(0, 3))(operation, x, kernel, stride)
    wanted = jax.jit(everything, static_argnums=(0, 3))(stock, x, kernel, stride)
    for a, w in zip(jax.tree.leaves(actual), jax.tree.leaves(wanted), strict=True):
        assert a.shape == w.shape
        np.testing.assert_allclose(a, w, rtol=1e-4, atol=2e-5 * float(jnp.abs(w).max()))


def shapes(usual, sizes, strides):
    """All sizes of a kernel with all strides, of which the usual ones are tested by default."""
    return [
        pytest.param(size, stride, marks=() if (size, stride) in usual else pytest.mark.full)
        for size in sizes
        for stride in strides
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("size", "stride"), shapes([(3, 1), (4, 2), (5, 2), (1, 3)], (1, 3, 4, 5), (1, 2, 3))
)
def test_equals_stock(form, stride, size):
    operation, stock = FORMS[form]
    generator = np.random.default_rng(size)
    if "phases" in form and size < stride:
        pytest.skip("a phase would have no tap")
    sizes = {"fast_conv": [EVEN], "patch_conv": [ODD, EVEN], "conv": [ODD, EVEN]}
    for height, width in sizes.get(form, [ODD]):
        x = jnp.asarray(generator.normal(size=(2, height, width, 3)), jnp.float32)
        kernel = jnp.asarray(generator.normal(size=(size, size, 3, 4)), jnp.float32)
        compare(operation, stock, x, kernel, stride)


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


@pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.full), 2])
@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (1, 6),
        pytest.param(6, 1, marks=pytest.mark.full),
        (3, 40),
        pytest.param(40, 3, marks=pytest.mark.full),
        pytest.param(32, 33, marks=pytest.mark.full),
    ],
    ids=str,
)
def test_every_choice_of_form_equals_stock(inputs, outputs, stride):
    """Narrow, wide and small maps take different forms; the small side has 2 x 2 or 8 x 8."""
    generator = np.random.default_rng(2)
    for side in (2, 8):
        x = jnp.asarray(generator.normal(size=(2, stride * side, stride * side, inputs)))
        y = jnp.asarray(generator.normal(size=(2, side, side, inputs)))
        kernel = generator.normal(size=(5, 5, inputs, outputs)) / (25 * inputs) ** 0.5
        kernel = jnp.asarray(kernel)
        for fast, stock, image in [
            (conv.fast_conv, stock_conv, x),
            (conv.fast_conv_transpose, stock_conv_transpose, y),
        ]:
            compare(fast, stock, image, kernel, stride)


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
@pytest.mark.parametrize(("side", "outputs"), [(2, 33), (4, 33), (6, 33), (6, 3)])
def test_forms_for_accelerators_equal_stock(side, outputs, platform):
    """A kernel of 25 taps between maps of 4, 16 and 36 pixels and ones of twice their side."""
    generator = np.random.default_rng(3)
    y = jnp.asarray(generator.normal(size=(2, side, side, 32)), jnp.float32)
    x = jnp.asarray(generator.normal(size=(2, 2 * side, 2 * side, 32)), jnp.float32)
    kernel = jnp.asarray(generator.normal(size=(5, 5, 32, outputs)) / 32, jnp.float32)
    for chosen, stock, image in [
        (conv.conv, stock_conv, x),
        (conv.conv_transpose, stock_conv_transpose, y),
    ]:
        form = traced_for(platform, lambda x, kernel, stride, f=chosen: f(x, kernel, stride))
        compare(form, stock, image, kernel, 2)


@pytest.mark.parametrize(
    ("platform", "side", "dilated"),
    # Dilated maps and what is split of them: two parts each of the result and of the gradient by
    # the map. GPUs have none on small maps, where XLA would multiply by the zeros.
    [("tpu", 2, 1), ("tpu", 4, 2), ("tpu", 6, 1), ("gpu", 4, 0), ("gpu", 6, 1)],
)
def test_small_maps_have_forms_of_their_own_on_accelerators(platform, side, dilated):
    x, kernel = jnp.ones((2, side, side, 32)), jnp.ones((5, 5, 32, 32))
    form = traced_for(platform, lambda *arguments: conv.conv_transpose(*arguments, 2))
    assert str(jax.make_jaxpr(form)(x, kernel)).count("lhs_dilation=(2, 2)") == dilated


@pytest.mark.parametrize("side", [4, 8])
def test_kernel_gradients_of_transposed_convolutions_dilate_no_map_on_tpus(side):
    """Only the forward pass and the gradient of a convolution by its input have zeros in a map."""
    x, kernel = jnp.ones((2, side, side, 32)), jnp.ones((5, 5, 32, 128))

    def dilated(operation):
        forward, both = (
            str(jax.make_jaxpr(traced_for("tpu", f))(x, kernel)).count("lhs_dilation=(2, 2)")
            for f in (operation, jax.grad(lambda *given: jnp.sum(operation(*given)), 1))
        )
        return forward, both - forward

    parts = 2 if side == 4 else 1
    assert dilated(lambda x, kernel: conv.conv_transpose(x, kernel, 2)) == (parts, 0)
    assert dilated(lambda x, kernel: stock_conv_transpose(x, kernel, 2)) == (1, 1)


def test_forms_are_those_of_the_platform_that_is_compiled_for():
    """Traced for a TPU, a function has other operations, whatever it was traced for before."""
    x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((5, 5, 3, 4))

    @jax.jit
    def loss(x, kernel):
        return jnp.sum(conv.conv_transpose(x, kernel, 2))

    def padded(platform):
        jaxpr = jax.make_jaxpr(traced_for(platform, jax.grad(loss)))(x, kernel)
        return "lhs_dilation=(2, 2)" in str(jaxpr)

    assert [padded(platform) for platform in ("cpu", "tpu", "gpu", "cpu")] == [0, 1, 1, 0]


@pytest.mark.parametrize("axes", [1, 2])
def test_derivatives_within_loops_and_branches_have_the_axes_that_cpus_are_fast_for(axes):
    """XLA puts those of other convolutions in order in the main computation alone."""
    x, kernel = jnp.ones((2, *(8,) * axes, 6)), jnp.ones((*(3,) * axes, 6, 6))
    operation = conv.conv if axes == 2 else conv.conv1d

    def step(x, kernel):
        def penalty(kernel):
            slope = jax.grad(lambda x: jnp.sum(operation(x, kernel, 2) ** 2))(x)
            return jnp.sum(slope**2)

        return kernel - jax.grad(penalty)(kernel)

    def branch(x, kernel, due):
        return jax.lax.cond(due, lambda: step(x, kernel), lambda: kernel)

    def loop(x, kernel):
        return jax.lax.fori_loop(0, 3, lambda i, k: step(x, k), kernel)

    wanted = {1: {"b0f_0io->b0f"}, 2: {"b01f_01io->b01f"}}[axes]
    for function, given in ((branch, (x, kernel, True)), (loop, (x, kernel))):
        text = jax.jit(function).lower(*given).compile().as_text()
        found = re.findall(r"dim_labels=([a-z0-9_>-]+)", text)
        assert len(found) >= 3
        assert set(found) == wanted
