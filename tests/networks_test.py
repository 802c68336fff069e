"""Architectures: shapes, statistics at initialisation, and the layers that are our own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.config import DCGAN, MLP, R3GAN, AutoencoderKL, DCGANTutorial
from genjax.errors import UserError
from genjax.nn.layers import Dropout, Layers, Maxout
from genjax.nn.networks import AXES, DECODERS, ENCODERS, make_decoder, make_encoder, make_layers

KEY = jax.random.key(0)


def decoder(config, image):
    return make_decoder(config, image, make_layers(config, jnp.float32, None), "decoder")


def encoder(config, image):
    return make_encoder(config, image, make_layers(config, jnp.float32, None), "encoder")


def narrow(kind):
    if kind is R3GAN:
        return R3GAN(widths=(8,), blocks=(1,))
    return kind(width=4) if hasattr(kind, "width") else kind()


SHAPES = {
    3: [(8, 8, 1), (28, 28, 1), (32, 32, 3), (64, 64, 3), (128, 128, 3)],
    2: [(1024, 1), (16384, 1)],
}


def cases(table):
    """Each architecture, with examples of the kind that it is for."""
    # Not one whose latents are maps, of as many numbers as the image says.
    kinds = [kind for kind in table if kind is not AutoencoderKL]
    return [(kind, shape) for kind in kinds for shape in SHAPES[AXES.get(kind, (3, ""))[0]]]


@pytest.mark.parametrize(("kind", "shape"), cases(DECODERS))
def test_decoders_make_examples(kind, shape):
    network = decoder(narrow(kind), shape)
    examples, _ = jax.eval_shape(
        lambda z: network.init_with_output(KEY, z, train=False), jnp.zeros((3, 10))
    )
    assert examples.shape == (3, *shape)


@pytest.mark.parametrize(("kind", "shape"), cases(ENCODERS))
def test_encoders_make_features(kind, shape):
    network = encoder(narrow(kind), shape)
    features, _ = jax.eval_shape(
        lambda x: network.init_with_output(KEY, x, train=False), jnp.zeros((3, *shape))
    )
    assert features.shape[0] == 3
    assert features.ndim in (2, len(shape) + 1)


def test_dcgan_layers_are_the_papers():
    """At 64 x 64 and width 128: 4x4x1024, 512, 256, 128, then the image (figure 1)."""
    network = decoder(DCGAN(width=128), (64, 64, 3))
    variables = jax.eval_shape(lambda: network.init(KEY, jnp.zeros((1, 100)), train=False))
    params = variables["params"]
    assert params["Dense_0"]["kernel"].shape == (100, 4 * 4 * 1024)
    kernels = [params[f"ConvTranspose_{i}"]["kernel"].shape for i in range(4)]
    assert kernels == [(5, 5, 1024, 512), (5, 5, 512, 256), (5, 5, 256, 128), (5, 5, 128, 3)]


def test_dcgan_weights_start_as_the_paper_says():
    network = encoder(DCGAN(), (28, 28, 1))
    params = network.init(KEY, jnp.zeros((1, 28, 28, 1)), train=False)["params"]
    kernel = np.asarray(params["Conv_1"]["kernel"])
    assert abs(kernel.std() - 0.02) < 2e-4
    assert abs(kernel.mean()) < 2e-4
    scale = np.asarray(params["Normalize_0"]["scale"])
    assert abs(scale.mean() - 1) < 0.01
    assert 0.01 < scale.std() < 0.03
    assert "Normalize_1" not in params
    assert "bias" not in params["Conv_1"]


def test_tutorial_goes_from_7_to_14_to_28():
    network = decoder(DCGANTutorial(), (28, 28, 1))
    variables = network.init(KEY, jnp.zeros((1, 100)), train=False)
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
    network = decoder(DCGAN(), (side, side, 1))
    with pytest.raises(UserError, match=f"resolution {advice}\\b"):
        jax.eval_shape(lambda: network.init(KEY, jnp.zeros((1, 4)), train=False))


def test_images_that_are_not_square_are_refused():
    with pytest.raises(UserError, match="28 x 32"):
        decoder(MLP(), (28, 32, 1))


def test_maxout_takes_the_largest_piece():
    layer = Maxout(units=3, pieces=4, layers=Layers())
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
