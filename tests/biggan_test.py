"""BigGAN's networks and self-attention (Brock et al. 2019; Zhang et al. 2019) against PyTorch."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.config import BigGAN, BigGANDeep
from genjax.errors import UserError
from genjax.nn.attention import SelfAttention
from genjax.nn.biggan import BigGANDecoder, BigGANEncoder
from genjax.nn.biggan_deep import BigGANDeepDecoder, BigGANDeepEncoder
from genjax.nn.layers import Layers

KEY = jax.random.key(6)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


class Theirs:
    """PyTorch's operations in float64, on our parameters of one network; maps are NCHW."""

    def __init__(self, torch, params, spectral):
        self.torch, self.functional = torch, torch.nn.functional
        as_tensor = lambda p: torch.tensor(np.float64(p))  # noqa: E731
        self.params = jax.tree.map(lambda p: as_tensor(p).requires_grad_(), params)
        self.spectral = jax.tree.map(as_tensor, spectral)

    def kernel(self, *path):
        """Divided by ``u^T W v`` where there are such vectors."""
        layer, vectors = self.params, self.spectral
        for name in path:
            layer, vectors = layer[name], vectors.get(name, {})
        kernel = layer["kernel"]
        if vectors:
            u, v = vectors["vectors"]["u"], vectors["vectors"]["v"]
            kernel = kernel / (v @ kernel.reshape(len(v), len(u)) @ u)
        return kernel

    def conv(self, x, *path):
        kernel = self.kernel(*path)
        layer = self.params
        for name in path:
            layer = layer[name]
        return self.functional.conv2d(
            x, kernel.permute(3, 2, 0, 1), layer.get("bias"), padding=kernel.shape[0] // 2
        )

    def norm(self, x, number, given):
        """Batch norm whose gain and bias are linear in what it is given, and ReLU."""
        name = f"Normalize_{number}"
        if given is None:
            gain, bias = (self.params[name][key] for key in ("scale", "bias"))
        else:
            gain = (1 + given @ self.kernel(name, "gain"))[..., None, None]
            bias = (given @ self.kernel(name, "conditional_bias"))[..., None, None]
        y = self.functional.batch_norm(x, None, None, training=True, eps=1e-5)
        return self.functional.relu(
            gain.reshape(-1, x.shape[1], 1, 1) * y + bias.reshape(-1, x.shape[1], 1, 1)
        )

    def up(self, x):
        return self.functional.interpolate(x, scale_factor=2, mode="nearest")

    def attend(self, x, *path):
        batch, channels, height, width = x.shape
        pool = lambda y: self.functional.max_pool2d(y, 2)  # noqa: E731
        query, key, value = (self.conv(x, *path, f"Conv_{i}") for i in range(3))
        query = query.reshape(batch, -1, height * width)
        key, value = (pool(y).reshape(batch, y.shape[1], -1) for y in (key, value))
        shares = self.torch.softmax(query.transpose(1, 2) @ key, -1)
        seen = (value @ shares.transpose(1, 2)).reshape(batch, channels // 2, height, width)
        layer = self.params
        for name in path:
            layer = layer[name]
        return x + layer["gain"] * self.conv(seen, *path, "Conv_3")


def random(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def draw(module, *inputs):
    """Parameters and vectors of which none is at a special value, beside the other collections."""
    shapes = jax.eval_shape(lambda: module.init(KEY, *inputs))
    return jax.tree.map(lambda p: jnp.float32(0.3 * RNG.normal(size=p.shape)), shapes)


def check(torch, ours, theirs, output, variables, inputs):
    """Values, and gradients by parameters and inputs of a random sum of them.

    Args:
      ours: from parameters and inputs to the output.
      theirs: from `Theirs` and tensors to a tensor of the same shape.
    """
    params, spectral = variables["params"], variables.get("spectral", {})
    weights = RNG.normal(size=output).astype(np.float32)
    loss = lambda p, x: jnp.sum(ours(p, x) * weights)  # noqa: E731
    found = jax.jit(ours)(params, inputs)
    gradients = jax.jit(jax.grad(loss, (0, 1)))(params, inputs)
    their = Theirs(torch, params, spectral)
    tensors = [torch.tensor(np.float64(x)).requires_grad_() for x in inputs]
    expected = theirs(their, *tensors)
    (expected * torch.tensor(weights)).sum().backward()

    expected = expected.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    their_gradients = jax.tree.map(lambda p: p.grad.numpy(), (their.params, tuple(tensors)))
    # Biases before a norm have none.
    most = max(np.abs(leaf).max() for leaf in jax.tree.leaves(their_gradients))
    chex.assert_trees_all_close(gradients, their_gradients, rtol=1e-3, atol=1e-4 * most)


def decoder_of(module, variables):
    """A decoder as a function of its parameters and of z and labels, in training."""
    rest = {name: value for name, value in variables.items() if name != "params"}

    def images(params, inputs):
        z, labels = inputs
        given = {"params": params, **rest}
        return module.apply(given, z, True, labels, mutable="batch_stats")[0]

    return images


def test_attention(torch):
    module = SelfAttention(Layers(spectral_norm=True))
    x = random(3, 6, 4, 16)
    variables = draw(module, x)
    rest = {name: value for name, value in variables.items() if name != "params"}
    check(
        torch,
        lambda params, inputs: module.apply({"params": params, **rest}, *inputs),
        lambda their, x: their.attend(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1),
        x.shape,
        variables,
        (x,),
    )


def test_attention_starts_as_the_identity():
    module = SelfAttention(Layers())
    x = random(2, 4, 4, 8)
    assert (module.init_with_output(KEY, x)[0] == x).all()
    with pytest.raises(UserError, match="at least 8 channels, not 7 x 7 with 16"):
        module.init(KEY, jnp.zeros((1, 7, 7, 16)))


def decode(their, config, z, labels):
    """An embedding that blocks share and a part of z for each; dense; blocks; norm, ReLU, conv."""
    parts = [None, None]
    if config.hierarchical:
        z, *parts = z.tensor_split(3, dim=1)
    if config.embedding:
        labels = labels @ their.params["embedding"]["kernel"]
    given = [their.torch.cat([x for x in (labels, part) if x is not None], 1) for part in parts]
    width = 4 * config.width
    dense = z @ their.kernel("Dense_0") + their.params["Dense_0"]["bias"]
    x = dense.reshape(len(z), 2, 2, width).permute(0, 3, 1, 2)
    attended = 0
    for block in range(2):
        first = 3 * block
        y = their.conv(their.up(their.norm(x, 2 * block, given[block])), f"Conv_{first}")
        y = their.conv(their.norm(y, 2 * block + 1, given[block]), f"Conv_{first + 1}")
        x = y + their.conv(their.up(x), f"Conv_{first + 2}")
        if x.shape[2] in config.attention:
            x = their.attend(x, f"SelfAttention_{attended}")
            attended += 1
    return their.conv(their.norm(x, 4, None), "Conv_6").permute(0, 2, 3, 1)


@pytest.mark.parametrize(
    "config",
    [
        BigGAN(width=3),
        BigGAN(width=4, attention=(4, 8), embedding=5, hierarchical=True),
    ],
    ids=["labels", "all"],
)
def test_decoder(torch, config):
    spectral = config.hierarchical
    module = BigGANDecoder((8, 8, 3), config, Layers("batch", spectral))
    z = random(6, 12)
    labels = jnp.eye(4)[RNG.integers(0, 4, 6)]
    variables = draw(module, z, True, labels)
    rest = {name: value for name, value in variables.items() if name != "params"}
    # What follows labels alone isn't normalised, nor is the embedding.
    assert ("Normalize_0" in rest.get("spectral", {})) == spectral
    assert "embedding" not in rest.get("spectral", {})

    check(
        torch,
        decoder_of(module, variables),
        lambda their, z, labels: decode(their, config, z, labels),
        (6, 8, 8, 3),
        variables,
        (z, labels),
    )


def test_encoder(torch):
    """Two blocks that halve, two that do not; no ReLU before the first; a sum over places."""
    config = BigGAN(width=4, attention=(4,), norm="none")
    module = BigGANEncoder(config, Layers(spectral_norm=True))
    images = random(3, 8, 8, 2)
    variables = draw(module, images, True)
    rest = {name: value for name, value in variables.items() if name != "params"}

    def theirs(their, images):
        relu, pool = their.functional.relu, lambda x: their.functional.avg_pool2d(x, 2)
        x, conv = images.permute(0, 3, 1, 2), 0
        for block in range(4):
            y = relu(x) if block else x
            y = relu(their.conv(y, f"Conv_{conv}"))
            y, conv = their.conv(y, f"Conv_{conv + 1}"), conv + 2
            if block < 2:
                y, x = pool(y), pool(their.conv(x, f"Conv_{conv}"))
                conv += 1
            x = x + y
            if block == 0:
                x = their.attend(x, "SelfAttention_0")
        return relu(x).sum((2, 3))

    check(
        torch,
        lambda params, inputs: module.apply({"params": params, **rest}, *inputs, True),
        theirs,
        (3, 16),
        variables,
        (images,),
    )


def decode_deep(their, config, z, labels):
    """z beside the embedding everywhere; groups of two bottlenecks, of which the second doubles."""
    given = their.torch.cat([labels @ their.params["embedding"]["kernel"], z], 1)
    width = 4 * config.width
    dense = given @ their.kernel("Dense_0") + their.params["Dense_0"]["bias"]
    x = dense.reshape(len(z), 2, 2, width).permute(0, 3, 1, 2)
    for block in range(4):
        up = their.up if block % 2 else lambda y: y
        first = 4 * block
        y = their.conv(their.norm(x, first, given), f"Conv_{first}")
        y = their.conv(up(their.norm(y, first + 1, given)), f"Conv_{first + 1}")
        y = their.conv(their.norm(y, first + 2, given), f"Conv_{first + 2}")
        x = up(x) + their.conv(their.norm(y, first + 3, given), f"Conv_{first + 3}")
        if block == 1:
            x = their.attend(x, "SelfAttention_0")
    return their.conv(their.norm(x, 16, None), "Conv_16").permute(0, 2, 3, 1)


def test_deep_decoder(torch):
    config = BigGANDeep(width=4, attention=(4,), embedding=5, hierarchical=True)
    module = BigGANDeepDecoder((8, 8, 3), config, Layers("batch", spectral_norm=True))
    z, labels = random(6, 7), jnp.eye(4)[RNG.integers(0, 4, 6)]
    variables = draw(module, z, True, labels)

    check(
        torch,
        decoder_of(module, variables),
        lambda their, z, labels: decode_deep(their, config, z, labels),
        (6, 8, 8, 3),
        variables,
        (z, labels),
    )


@pytest.mark.parametrize("side", [8, 64])
def test_deep_encoder(torch, side):
    """Where a map widens, a 1 x 1 convolution adds the channels that it lacks."""
    config = BigGANDeep(width=4, norm="none", depth=1 if side == 64 else 2)
    module = BigGANDeepEncoder(config, Layers())
    images = random(2, side, side, 3)
    variables = draw(module, images, True)
    groups = [4 * multiple for multiple in ((4, 4, 4) if side == 8 else (2, 4, 8, 16))]

    def theirs(their, images):
        relu, pool = their.functional.relu, lambda x: their.functional.avg_pool2d(x, 2)
        x, conv = their.conv(images.permute(0, 3, 1, 2), "Conv_0"), 1
        for group, width in enumerate(groups):
            for number in range(config.depth):
                shrink = pool if number == 0 and (side == 64 or group < 2) else lambda y: y
                y = x
                for _ in range(3):
                    y, conv = their.conv(relu(y), f"Conv_{conv}"), conv + 1
                y, conv = their.conv(shrink(relu(y)), f"Conv_{conv}"), conv + 1
                x = shrink(x)
                if x.shape[1] != width:
                    x, conv = their.torch.cat([x, their.conv(x, f"Conv_{conv}")], 1), conv + 1
                x = x + y
        return relu(x).sum((2, 3))

    check(
        torch,
        lambda params, inputs: module.apply({"params": params}, *inputs, True),
        theirs,
        (2, groups[-1]),
        variables,
        (images,),
    )


def count(module, *inputs):
    shapes = jax.eval_shape(lambda: module.init(KEY, *inputs))["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def test_the_networks_of_the_paper_have_their_size():
    """At 128 pixels, with 96 channels, 20 values of z a block and 1,000 classes: 70.43 million
    parameters of G and 87.98 of D with its embedding, as the authors' code counts them."""
    config = BigGAN(width=96, attention=(64,), embedding=128, hierarchical=True)
    decoder = BigGANDecoder((128, 128, 3), config)
    images, labels = jnp.zeros((1, 128, 128, 3)), jnp.zeros((1, 1000))
    assert round(count(decoder, jnp.zeros((1, 120)), False, labels) / 1e6, 2) == 70.43
    head = 16 * 96 * 1001 + 1
    encoder = BigGANEncoder(dataclasses.replace(config, norm="none"))
    assert round((count(encoder, images, False) + head) / 1e6, 2) == 87.98

    # BigGAN-deep, with 128 channels, by the authors' code too.
    deep = BigGANDeep(width=128, attention=(64,), embedding=128, hierarchical=True)
    decoder = BigGANDeepDecoder((128, 128, 3), deep)
    assert round(count(decoder, jnp.zeros((1, 128)), False, labels) / 1e6, 1) == 50.2
    head = 16 * 128 * 1001 + 1
    encoder = BigGANDeepEncoder(dataclasses.replace(deep, norm="none"))
    assert round((count(encoder, images, False) + head) / 1e6, 1) == 34.6


def test_mistakes():
    decoder = BigGANDecoder((8, 8, 1), BigGAN(width=2, hierarchical=True))
    with pytest.raises(UserError, match=r"3 parts, but it has 10 values .* set --model.latent 12"):
        decoder.init(KEY, jnp.zeros((1, 10)), True)
    with pytest.raises(UserError, match=r"96 pixels a side; set --data.resolution 64, or"):
        BigGANEncoder(BigGAN(width=2)).init(KEY, jnp.zeros((1, 96, 96, 1)), True)
    with pytest.raises(UserError, match=r"30 pixels a side; set --data.resolution 32"):
        BigGANEncoder(BigGAN(width=2)).init(KEY, jnp.zeros((1, 30, 30, 1)), True)
    for kind, encoder in ((BigGAN, BigGANEncoder), (BigGANDeep, BigGANDeepEncoder)):
        with pytest.raises(UserError, match=r"attention is 8, .* choices: 4, 2"):
            encoder(kind(width=2, attention=(4, 8))).init(KEY, jnp.zeros((1, 8, 8, 1)), True)
    with pytest.raises(UserError, match=r"attention is 2, .* choices: 8, 4"):
        BigGANDecoder((8, 8, 1), BigGAN(width=2, attention=(2,))).init(KEY, jnp.zeros((1, 8)), True)
    for kind, decoder in ((BigGAN, BigGANDecoder), (BigGANDeep, BigGANDeepDecoder)):
        with pytest.raises(UserError, match=r"embedding is 4, .*conditioning cbn, or"):
            decoder((8, 8, 1), kind(width=2, embedding=4)).init(KEY, jnp.zeros((1, 8)), True)
