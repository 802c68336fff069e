"""The networks of images of joint embeddings against PyTorch in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.config import ResNet, ViT
from genjax.errors import UserError
from genjax.nn.image_towers import make_image_tower

SIDE = 8
TOWER = {
    "resnet": ResNet(widths=(6, 8)),
    "vit": ViT(patch=4, width=6, depth=1, heads=2),
}


def draw_params(module, images):
    """Parameters of which none is at a special value."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.asarray(images), False))
    return jax.tree.map(lambda p: jnp.float32(0.5 * rng.normal(size=p.shape)), shapes)


def resnet(torch, params, images):
    functional = torch.nn.functional

    def conv(x, number, stride=1):
        kernel = params[f"Conv_{number}"]["kernel"].permute(3, 2, 0, 1)
        half = kernel.shape[-1] // 2
        # 'SAME' padding of an even map with stride 2 is behind it alone.
        before = 0 if stride == 2 else half
        x = functional.pad(x, (before, half, before, half))
        return functional.conv2d(x, kernel, stride=stride)

    def norm(x, number):
        mean, var = x.mean((1, 2, 3), True), x.var((1, 2, 3), correction=0, keepdim=True)
        own = params[f"Normalize_{number}"]
        gain, bias = (own[name].reshape(1, -1, 1, 1) for name in ("scale", "bias"))
        return (x - mean) / torch.sqrt(var + 1e-5) * gain + bias

    x = functional.relu(norm(conv(images.permute(0, 3, 1, 2), 0), 0))
    y = functional.relu(norm(conv(x, 1), 1))
    x = functional.relu(x + norm(conv(y, 2), 2))
    y = functional.relu(norm(conv(x, 3, 2), 3))
    y = norm(conv(y, 4), 4)
    return functional.relu(norm(conv(x, 5, 2), 5) + y).mean((2, 3))


def vit(torch, params, images):
    functional = torch.nn.functional
    config = TOWER["vit"]
    width, heads = config.width, config.heads

    def norm(x, layer):
        return functional.layer_norm(x, (width,), layer["scale"], layer["bias"], 1e-5)

    def linear(x, layer):
        return x @ layer["kernel"] + layer["bias"]

    def split(x):
        return x.unflatten(-1, (heads, width // heads)).transpose(1, 2)

    kernel = params["patches"]["kernel"].reshape(config.patch, config.patch, 3, width)
    x = functional.conv2d(
        images.permute(0, 3, 1, 2),
        kernel.permute(3, 2, 0, 1),
        params["patches"]["bias"],
        stride=config.patch,
    )
    x = x.flatten(2).transpose(1, 2) + params["positions"]
    layer = params["layer_0"]
    y = norm(x, layer["attention_norm"])
    parts = (split(linear(y, layer[name])) for name in ("query", "key", "value"))
    seen = functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
    x = x + linear(seen, layer["attention_out"])
    y = functional.gelu(linear(norm(x, layer["mlp_norm"]), layer["mlp_in"]))
    return norm(x + linear(y, layer["mlp_out"]), params["norm"]).mean(1)


@pytest.mark.parametrize("name", TOWER)
def test_equals_pytorch(name):
    """Features, and the gradients of all parameters."""
    torch = pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")
    images = np.random.default_rng(1).uniform(-1, 1, (3, SIDE, SIDE, 3)).astype(np.float32)
    module = make_image_tower(TOWER[name], images.shape[1:])
    variables = draw_params(module, images)
    weights = np.random.default_rng(2).normal(size=TOWER[name].__dict__.get("width", 8))

    def loss(variables):
        features = module.apply(variables, jnp.asarray(images), True)
        return jnp.sum(features * weights), features

    (_, ours), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables)
    params = jax.tree.map(
        lambda p: torch.tensor(np.float64(p), requires_grad=True), variables["params"]
    )
    theirs = {"resnet": resnet, "vit": vit}[name](torch, params, torch.tensor(np.float64(images)))
    (theirs * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-4, atol=1e-5)
    jax.tree.map(
        lambda g, p: np.testing.assert_allclose(g, p.grad, rtol=1e-4, atol=1e-4),
        gradients["params"],
        params,
    )


def test_images_that_do_not_fit():
    with pytest.raises(UserError, match="a vit can't cut images of 8 pixels into patches of 3"):
        make_image_tower(ViT(patch=3), (8, 8, 3))
    with pytest.raises(UserError, match=r"images are 8 x 6; set --data\.resolution"):
        make_image_tower(ViT(), (8, 6, 3))
