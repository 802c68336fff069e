"""Architectures: shapes, statistics at initialisation, and the layers that are our own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.config import NetworkConfig
from genjax.errors import UserError
from genjax.nn.layers import Dropout, Maxout
from genjax.nn.networks import make_discriminator, make_generator

KEY = jax.random.key(0)


@pytest.mark.parametrize("name", ["dcgan", "dcgan_tutorial", "mlp"])
@pytest.mark.parametrize("image", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (64, 64, 3)])
def test_shapes(name, image):
    config = NetworkConfig(name, width=4)
    generator = make_generator(config, image, jnp.float32, None)
    discriminator = make_discriminator(config, jnp.float32, None)
    images, _ = jax.eval_shape(
        lambda z: generator.init_with_output(KEY, z, train=False), jnp.zeros((3, 10))
    )
    assert images.shape == (3, *image)
    logits, _ = jax.eval_shape(
        lambda x: discriminator.init_with_output(KEY, x, train=False), jnp.zeros((3, *image))
    )
    assert logits.shape == (3,)


def test_dcgan_layers_are_the_papers():
    """At 64 x 64 and width 128: 4x4x1024, 512, 256, 128, then the image (figure 1)."""
    generator = make_generator(NetworkConfig("dcgan", width=128), (64, 64, 3), jnp.float32, None)
    variables = jax.eval_shape(lambda: generator.init(KEY, jnp.zeros((1, 100)), train=False))
    params = variables["params"]
    assert params["Dense_0"]["kernel"].shape == (100, 4 * 4 * 1024)
    kernels = [params[f"ConvTranspose_{i}"]["kernel"].shape for i in range(4)]
    assert kernels == [(5, 5, 1024, 512), (5, 5, 512, 256), (5, 5, 256, 128), (5, 5, 128, 3)]


def test_dcgan_weights_start_as_the_paper_says():
    discriminator = make_discriminator(NetworkConfig("dcgan"), jnp.float32, None)
    params = discriminator.init(KEY, jnp.zeros((1, 28, 28, 1)), train=False)["params"]
    kernel = np.asarray(params["Conv_1"]["kernel"])
    assert abs(kernel.std() - 0.02) < 2e-4
    assert abs(kernel.mean()) < 2e-4
    assert "BatchNorm_0" in params
    assert "BatchNorm_1" not in params
    assert "bias" not in params["Conv_1"]


def test_tutorial_goes_from_7_to_14_to_28():
    generator = make_generator(NetworkConfig("dcgan_tutorial"), (28, 28, 1), jnp.float32, None)
    variables = generator.init(KEY, jnp.zeros((1, 100)), train=False)
    assert set(variables) == {"params"}
    shapes = {name: layer["kernel"].shape for name, layer in variables["params"].items()}
    assert shapes == {
        "Dense_0": (100, 7 * 7 * 128),
        "ConvTranspose_0": (5, 5, 128, 128),
        "ConvTranspose_1": (5, 5, 128, 128),
        "ConvTranspose_2": (5, 5, 128, 1),
    }


@pytest.mark.parametrize(("side", "advice"), [(9, "8 or 12"), (3, "4"), (50, "48 or 56")])
def test_sizes_that_dcgan_cannot_make(side, advice):
    generator = make_generator(NetworkConfig("dcgan"), (side, side, 1), jnp.float32, None)
    with pytest.raises(UserError, match=f"resolution {advice}\\b"):
        jax.eval_shape(lambda: generator.init(KEY, jnp.zeros((1, 4)), train=False))


def test_images_that_are_not_square_are_refused():
    with pytest.raises(UserError, match="28 x 32"):
        make_generator(NetworkConfig("mlp"), (28, 32, 1), jnp.float32, None)


def test_maxout_takes_the_largest_piece():
    layer = Maxout(units=3, pieces=4)
    x = jax.random.normal(KEY, (5, 7))
    variables = layer.init(KEY, x)
    dense = variables["params"]["Dense_0"]
    pieces = np.asarray(x, np.float64) @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"])
    np.testing.assert_allclose(
        layer.apply(variables, x), pieces.reshape(5, 3, 4).max(-1), rtol=1e-5, atol=1e-6
    )


def test_dropout_keeps_the_mean_and_the_rate():
    x = jnp.ones((50, 400))
    y = Dropout(0.2).apply({}, x, train=True, rngs={"dropout": KEY})
    assert set(np.unique(y)) == {0.0, np.float32(1.25)}
    assert abs(float(jnp.mean(y == 0)) - 0.2) < 0.01
    assert len(np.unique(np.asarray(y), axis=0)) == 50
    np.testing.assert_array_equal(Dropout(0.2).apply({}, x, train=False), x)
