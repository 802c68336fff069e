"""Orthogonal regularisation against a sum over pairs of columns, and PyTorch's gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.families.gan.penalties import orthogonal

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


@pytest.fixture
def weights():
    def draw(*shape):
        return jnp.float32(RNG.normal(size=shape))

    return {
        "Dense_0": {"kernel": draw(5, 3), "bias": draw(3)},
        "block": {"Conv_0": {"kernel": draw(3, 3, 2, 4), "bias": draw(4)}},
        "Normalize_0": {"scale": draw(4), "bias": draw(4)},
    }


def test_orthogonal_value(weights):
    """Brock et al. 2019, equation 3: the squared inner products of all pairs of columns."""
    expected = 0.0
    for kernel in (weights["Dense_0"]["kernel"], weights["block"]["Conv_0"]["kernel"]):
        columns = np.float64(kernel).reshape(-1, kernel.shape[-1]).T
        for i, one in enumerate(columns):
            for j, other in enumerate(columns):
                expected += (one @ other) ** 2 if i != j else 0
    np.testing.assert_allclose(orthogonal(weights), expected, rtol=1e-5)


def test_orthogonal_gradient(torch, weights):
    theirs = jax.tree.map(lambda p: torch.tensor(np.float64(p), requires_grad=True), weights)
    kernels = [theirs["Dense_0"]["kernel"], theirs["block"]["Conv_0"]["kernel"]]
    total = 0
    for kernel in kernels:
        matrix = kernel.reshape(-1, kernel.shape[-1])
        outside = 1 - torch.eye(matrix.shape[1], dtype=torch.float64)
        total = total + torch.linalg.matrix_norm(matrix.T @ matrix * outside) ** 2
    wanted = torch.autograd.grad(total, kernels)
    gradients = jax.jit(jax.grad(orthogonal))(weights)
    actual = gradients["Dense_0"]["kernel"], gradients["block"]["Conv_0"]["kernel"]
    for gradient, want in zip(actual, wanted, strict=True):
        np.testing.assert_allclose(gradient, want.numpy(), rtol=1e-4, atol=1e-4)
    for layer in (gradients["Dense_0"], gradients["block"]["Conv_0"], gradients["Normalize_0"]):
        assert not layer["bias"].any()
    assert not gradients["Normalize_0"]["scale"].any()
