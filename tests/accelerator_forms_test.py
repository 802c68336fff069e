"""Forms that are chosen for accelerators, run here on the CPU, against those of the CPU."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from specs import image_spec

from genjax.config import MLP, SGD, GANConfig, Goodfellow
from genjax.core.compiler import traced_for
from genjax.domains.image import scale_images
from genjax.families.gan.algorithm import make_gan
from genjax.nn.layers import Dense, leaky_relu

KEY = jax.random.key(0)
PLATFORMS = ("cpu", "gpu", "tpu")


def close(a, b):
    chex.assert_trees_all_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("features", [1, 12, (2, 3, 4)], ids=str)
@pytest.mark.parametrize("inputs", [(5,), (2, 3, 4)], ids=str)
def test_dense_is_a_product_of_rows_and_kernel(inputs, features):
    x = jax.random.normal(KEY, (6, *inputs))
    layer = Dense(features)
    variables = traced_for("cpu", layer.init)(KEY, x)
    variables["params"]["bias"] = jnp.arange(float(np.prod(features)))
    shape = (6, *(features if isinstance(features, tuple) else (features,)))

    def loss(variables, x):
        return jnp.sum(jnp.sin(layer.apply(variables, x)))

    def plain(variables, x):
        params = variables["params"]
        rows = x.reshape(6, -1)
        return jnp.sum(jnp.sin(jnp.einsum("bi,io->bo", rows, params["kernel"]) + params["bias"]))

    wanted = jax.value_and_grad(plain, (0, 1))(variables, x)
    for platform in PLATFORMS:
        assert traced_for(platform, layer.apply)(variables, x).shape == shape
        close(traced_for(platform, jax.value_and_grad(loss, (0, 1)))(variables, x), wanted)


def test_leaky_relu_and_its_derivatives():
    x = jnp.asarray([-3.0, -0.5, 0.25, 2.0])

    def cubed(x):
        return jnp.sum(leaky_relu(x, 0.2) ** 3)

    slope = np.where(np.asarray(x) > 0, 1, 0.2)
    value = slope * np.asarray(x)
    for platform in PLATFORMS:
        close(traced_for(platform, cubed)(x), np.sum(value**3))
        close(traced_for(platform, jax.grad(cubed))(x), 3 * value**2 * slope)
        hessian = traced_for(platform, jax.hessian(cubed))(x)
        close(hessian, np.diag(6 * value * slope**2))


def whole(tree):
    """The tree with its keys as numbers."""
    return jax.tree.map(
        lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x,
        tree,
    )


@pytest.mark.full
@pytest.mark.parametrize("share", [False, True])
def test_scanned_updates_are_those_that_are_made_one_after_the_other(share):
    """Three updates of D: a loop for accelerators, three copies of the program for CPUs."""
    config = GANConfig(
        generator=MLP(width=8),
        discriminator=Goodfellow(width=8, spectral_norm=True),
        generator_optimizer=SGD(learning_rate=0.1),
        discriminator_optimizer=SGD(learning_rate=0.1),
        penalties={"r1": (1.0, 2)},
        discriminator_conditioning="none",
        discriminator_updates=3,
        share_generated=share,
    )
    algorithm = make_gan(config, image_spec(4, (8, 8, 1)))
    state = jax.jit(algorithm.init)(KEY)
    images = jax.random.randint(KEY, (12, 8, 8, 1), 0, 256).astype(jnp.uint8)
    batch = {"image": scale_images(images)}
    wanted = jax.jit(traced_for("cpu", algorithm.step))(state, batch)
    for platform in ("gpu", "tpu"):
        step = traced_for(platform, algorithm.step)
        close(whole(jax.jit(step)(state, batch)), whole(wanted))
        loops = str(jax.make_jaxpr(step)(state, batch)).count(f"length={2 if share else 3}")
        assert loops == 1
