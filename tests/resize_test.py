"""Resizing against torch-fidelity, PyTorch and Pillow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from genjax.errors import UserError
from genjax.evals.resize import RESIZES, resize

RNG = np.random.default_rng(0)
SIZES = [
    ((28, 28), (299, 299)),
    ((40, 32), (299, 97)),
    ((64, 96), (17, 30)),
    ((1, 5), (3, 11)),
    ((13, 20), (13, 50)),
]


def theirs_tf(torch, images, size):
    module = pytest.importorskip(
        "torch_fidelity.interpolate_compat_tensorflow",
        reason="needs the extra genjax-models[parity]",
    )
    x = torch.tensor(images).permute(0, 3, 1, 2).double()
    y = module.interpolate_bilinear_2d_like_tensorflow1x(x, size=size, align_corners=False)
    return y.permute(0, 2, 3, 1).numpy()


def theirs_torch(torch, images, size):
    x = torch.tensor(images).permute(0, 3, 1, 2).double()
    y = torch.nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
    return y.permute(0, 2, 3, 1).numpy()


def pillow(images, size):
    """As clean-fid's `make_resizer("PIL", quantize_after=False, "bicubic", ...)`."""

    def channel(x):
        image = Image.fromarray(x.astype(np.float32))
        assert image.mode == "F"
        return np.asarray(image.resize(size[::-1], Image.Resampling.BICUBIC)).clip(0, 255)

    return np.stack(
        [
            np.stack([channel(image[..., c]) for c in range(image.shape[-1])], axis=-1)
            for image in images
        ]
    )


def draw(shape):
    """Black, white and noise: edges overshoot."""
    images = RNG.integers(0, 256, (2, *shape, 3))
    images[0] = 255 * RNG.integers(0, 2, (*shape, 3))
    return images.astype(np.float32)


@pytest.mark.parametrize(("before", "after"), SIZES)
@pytest.mark.parametrize(("method", "theirs"), [("tf", theirs_tf), ("torch", theirs_torch)])
def test_against_torch(torchvision, method, theirs, before, after):
    torch = pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")
    images = draw(before)
    found = resize(jnp.asarray(images), method, *after)
    # torch-fidelity rounds positions to float32.
    np.testing.assert_allclose(found, theirs(torch, images, after), atol=2e-3)
    assert found.dtype == np.float32


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_clean_against_pillow(before, after):
    images = draw(before)
    found = resize(jnp.asarray(images), "clean", *after)
    np.testing.assert_allclose(found, pillow(images, after), atol=2e-4)


def test_clean_clips():
    """A step in brightness overshoots on both sides."""
    step = jnp.asarray(np.repeat([0, 255], 8).reshape(1, 1, 16, 1), jnp.float32)
    found = resize(step, "clean", 1, 50)
    assert found.min() == 0
    assert found.max() == 255


@pytest.mark.parametrize("method", RESIZES)
def test_same_size_changes_nothing(method):
    images = draw((9, 12))
    found = resize(jnp.asarray(images), method, 9, 12)
    np.testing.assert_array_equal(found, images)


@pytest.mark.parametrize("method", RESIZES)
def test_grey_stays_grey(method):
    matrix = RESIZES[method].matrix
    for before, after in ((7, 40), (40, 7)):
        assert matrix(before, after).shape == (after, before)
        np.testing.assert_allclose(matrix(before, after).sum(axis=1), 1, rtol=1e-12)


def test_compiles():
    images = jnp.asarray(draw((9, 12)))
    compiled = jax.jit(lambda x: resize(x, "clean", 20, 5))(images)
    np.testing.assert_allclose(compiled, resize(images, "clean", 20, 5), atol=1e-4)


def test_unknown_method_is_refused():
    with pytest.raises(UserError, match=r"unknown resize 'tfx'.*'tf'.*clean, tf, torch"):
        resize(jnp.zeros((1, 2, 2, 1)), "tfx", 4, 4)
