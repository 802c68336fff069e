"""StyleGAN2's networks against PyTorch in float64, with a kernel of each example's own."""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.config import Adam, GANConfig, GANSampling, StyleGAN2
from genjax.core.optimizers import make_optimizer
from genjax.core.players import update_player
from genjax.core.rng import example_keys, stream
from genjax.core.schema import Field, Spec
from genjax.errors import UserError
from genjax.families.gan import styles as terms
from genjax.families.gan.algorithm import make_gan
from genjax.families.gan.game import compose
from genjax.families.gan.generator import style_term
from genjax.families.gan.networks import Discriminator, Generator
from genjax.nn.equalized import EqualConv
from genjax.nn.layers import Layers
from genjax.nn.stylegan2 import (
    Mapping,
    ModulatedConv,
    StyleGAN2Decoder,
    StyleGAN2Encoder,
    map_sides,
)

KEY = jax.random.key(6)
RNG = np.random.default_rng(0)
SMALL = StyleGAN2(channel_base=64, channel_max=8, style=6, mapping=2)
FORMS = ("auto", "stock")
STEP = {
    "discriminator": dataclasses.replace(SMALL, stddev=2),
    "generator": SMALL,
    "latent": 5,
    "ema_decay": 0.9,
}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


def normal(*shape):
    return jnp.float32(RNG.normal(size=shape))


def draw(module, *inputs):
    """Variables of which none is at a special value."""
    variables = jax.eval_shape(lambda: module.init(KEY, *inputs))
    return jax.tree.map(lambda p: normal(*p.shape), variables)


def close(actual, wanted, rtol=1e-4):
    assert jax.tree.structure(actual) == jax.tree.structure(wanted)
    for a, w in zip(jax.tree.leaves(actual), jax.tree.leaves(wanted), strict=True):
        a, w = np.asarray(a), np.asarray(w)
        assert a.shape == w.shape
        assert np.abs(w).max() > 0
        np.testing.assert_allclose(a, w, rtol=rtol, atol=rtol * np.abs(w).max())


class Theirs:
    """PyTorch's operations in float64, on our parameters; maps are NCHW."""

    def __init__(self, torch, params, noise=None):
        self.torch, self.functional = torch, torch.nn.functional
        self.params = jax.tree.map(
            lambda p: torch.tensor(np.float64(p), requires_grad=True), dict(params)
        )
        self.noise = jax.tree.map(lambda n: torch.tensor(np.float64(n)), noise)

    def gradients(self):
        return jax.tree.map(lambda p: p.grad.numpy(), self.params)

    def lrelu(self, x, gain=1.0, clamp=None):
        y = self.functional.leaky_relu(x, 0.2) * math.sqrt(2) * gain
        return y if clamp is None else y.clamp(-clamp * gain, clamp * gain)

    def dense(self, layer, x, rate=1.0):
        return rate * (x @ layer["kernel"] / math.sqrt(x.shape[1]) + layer.get("bias", 0.0))

    def unit(self, x):
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

    def mapping(self, layers, z, condition=None):
        parts = [] if z is None else [self.unit(z)]
        if condition is not None:
            parts.append(self.unit(self.dense(layers["embed"], condition)))
        x = self.torch.cat(parts, 1)
        for number in range(len([name for name in layers if name.startswith("fc")])):
            layer = layers[f"fc{number}"]
            x = self.lrelu(0.01 * (x @ layer["kernel"] / math.sqrt(x.shape[1]) + layer["bias"]))
        return x

    def fir(self, x, before, after):
        taps = self.torch.tensor([1.0, 3, 3, 1], dtype=self.torch.float64) / 8
        c = x.shape[1]
        kernel = self.torch.outer(taps, taps).expand(c, 1, 4, 4)
        return self.functional.conv2d(self.functional.pad(x, (before, after) * 2), kernel, groups=c)

    def zeros_between(self, x):
        b, c, h, w = x.shape
        wide = self.torch.zeros(b, c, 2 * h, 2 * w, dtype=x.dtype)
        wide[:, :, ::2, ::2] = x
        return wide

    def convolve(self, x, kernel, resampling):
        """One example [1, inputs, h, w] and its kernel [outputs, inputs, k, k]."""
        pad = kernel.shape[-1] // 2
        if resampling == "up":
            # A wide border, so that the filter sees all that the convolution makes.
            wide = self.functional.pad(self.zeros_between(x), (4, 4, 4, 4))
            y = 4 * self.fir(self.functional.conv2d(wide, kernel, padding=pad), 2, 1)
            return y[:, :, 4:-4, 4:-4]
        if resampling == "down":
            wide = self.fir(x, 4, 4)
            y = self.functional.conv2d(wide, kernel, padding=pad)
            # Its first value at an even place is that between -1 and 0 of the image.
            return y[:, :, 3 : 3 + x.shape[2] : 2, 3 : 3 + x.shape[3] : 2]
        return self.functional.conv2d(x, kernel, padding=pad)

    def conv(self, layer, x, resampling="none", gain=1.0, clamp=None, activation=True):
        kernel = layer["kernel"].permute(3, 2, 0, 1)
        y = self.convolve(x, kernel / math.sqrt(kernel[0].numel()), resampling)
        if not activation:
            return y * gain
        return self.lrelu(y + layer["bias"][:, None, None], gain, clamp)

    def modulated(self, layer, x, w, resampling, demodulate):
        kernel = layer["kernel"].permute(3, 2, 0, 1)
        made = []
        for row, style in zip(x, self.dense(layer["affine"], w), strict=True):
            own = kernel * style[None, :, None, None]
            if demodulate:
                own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
            else:
                own = own / math.sqrt(kernel[0].numel())
            made.append(self.convolve(row[None], own, resampling))
        return self.torch.cat(made)

    def layer(self, name, x, w, resampling, gain=1.0, clamp=None):
        own = self.params["decoder"]["synthesis"][name]
        y = self.modulated(own["conv"], x, w, resampling, True)
        if self.noise is not None:
            y = y + own["strength"] * self.noise["decoder"]["synthesis"][name]["const"]
        return self.lrelu(y + own["bias"][:, None, None], gain, clamp)

    def synthesize(self, styles, sides, architecture, clamp=None):
        params = self.params["decoder"]["synthesis"]
        x = params["const"].permute(2, 0, 1)[None].expand(len(styles), -1, -1, -1)
        image, half = None, math.sqrt(0.5)
        for number, side in enumerate(sides):
            around = None
            if number:
                if architecture == "residual":
                    around = self.conv(params[f"skip{side}"], x, "up", half, activation=False)
                x = self.layer(f"conv{side}_up", x, styles[:, 2 * number - 1], "up", clamp=clamp)
            gain = 1.0 if around is None else half
            x = self.layer(f"conv{side}", x, styles[:, 2 * number], "none", gain, clamp)
            x = x if around is None else x + around
            if image is not None:
                image = 4 * self.fir(self.zeros_between(image), 2, 1)
            if architecture == "skip" or side == sides[-1]:
                to_image = params[f"to_image{side}"]
                y = self.modulated(to_image["conv"], x, styles[:, 2 * number + 1], "none", False)
                y = y + to_image["bias"][:, None, None]
                y = y if clamp is None else y.clamp(-clamp, clamp)
                image = y if image is None else image + y
        return image

    def encode(self, images, architecture, group, clamp=None):
        params, half = self.params["encoder"], math.sqrt(0.5)
        x, side = None, images.shape[2]
        while True:
            if x is None or architecture == "skip":
                seen = self.conv(params[f"from_image{side}"], images, clamp=clamp)
                x = seen if x is None else x + seen
                images = self.fir(images, 1, 1)[:, :, ::2, ::2]
            if side == 4:
                break
            gain = half if architecture == "residual" else 1.0
            y = self.conv(params[f"conv{side}"], x, clamp=clamp)
            y = self.conv(params[f"conv{side}_down"], y, "down", gain, clamp)
            if architecture == "residual":
                y = y + self.conv(params[f"skip{side}"], x, "down", gain, activation=False)
            x, side = y, side // 2
        groups = x.reshape(group, -1, *x.shape[1:])
        deviation = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
        maps = deviation.repeat(group)[:, None, None, None].expand(-1, 1, 4, 4)
        x = self.conv(params["conv4"], self.torch.cat([x, maps], 1), clamp=clamp)
        return self.lrelu(self.dense(params["fc"], x.permute(0, 2, 3, 1).flatten(1)))


def double(torch, x):
    return torch.tensor(np.float64(x))


def nchw(torch, x):
    return double(torch, x).permute(0, 3, 1, 2).requires_grad_()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("kernel", "resampling", "demodulate"),
    [(3, "none", True), (3, "up", True), (1, "none", False)],
)
def test_a_modulated_convolution_has_a_kernel_for_each_example(
    torch, kernel, resampling, demodulate, form
):
    x, w = normal(3, 4, 4, 5), normal(3, 6)
    layer = ModulatedConv(7, kernel, resampling, demodulate, Layers(convolutions=form))
    params = draw(layer, x, w)["params"]
    side = 8 if resampling == "up" else 4
    weights = normal(3, side, side, 7)

    def loss(params, x, w):
        y = layer.apply({"params": params}, x, w)
        return jnp.sum(y * weights), y

    (_, y), grads = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(params, x, w)
    theirs = Theirs(torch, params)
    tx, tw = nchw(torch, x), double(torch, w).requires_grad_()
    ty = theirs.modulated(theirs.params, tx, tw, resampling, demodulate)
    (ty.permute(0, 2, 3, 1) * double(torch, weights)).sum().backward()
    close(y, ty.permute(0, 2, 3, 1).detach())
    close(grads, (theirs.gradients(), tx.grad.permute(0, 2, 3, 1), tw.grad))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("resampling", ["none", "up", "down"])
def test_a_convolution_is_filtered_where_it_resamples(torch, kernel, resampling, form):
    x = normal(2, 4, 6, 3)
    layer = EqualConv(5, kernel, resampling, gain=0.7, clamp=0.3, form=form)
    params = draw(layer, x)["params"]
    y, pull = jax.vjp(lambda params, x: layer.apply({"params": params}, x), params, x)
    theirs, tx = Theirs(torch, params), nchw(torch, x)
    ty = theirs.conv(theirs.params, tx, resampling, 0.7, 0.3)
    weights = normal(*y.shape)
    (ty.permute(0, 2, 3, 1) * double(torch, weights)).sum().backward()
    assert np.abs(y).max() == pytest.approx(0.3 * 0.7)
    close(y, ty.permute(0, 2, 3, 1).detach())
    close(pull(weights), (theirs.gradients(), tx.grad.permute(0, 2, 3, 1)))


def test_mapping(torch):
    z, condition = normal(3, 5), jnp.eye(4)[jnp.array([0, 3, 1])]
    layer = Mapping(3, 6)
    params = draw(layer, z, condition)["params"]
    theirs = Theirs(torch, params)
    wanted = theirs.mapping(theirs.params, double(torch, z), double(torch, condition))
    close(layer.apply({"params": params}, z, condition), wanted.detach())


@pytest.mark.parametrize(
    ("architecture", "clamp"),
    [("skip", None), pytest.param("residual", 2.0, marks=pytest.mark.full), ("plain", None)],
)
def test_generator(torch, architecture, clamp):
    config = dataclasses.replace(SMALL, architecture=architecture, clamp=clamp)
    decoder = StyleGAN2Decoder((8, 8, 2), config, noise="const")
    generator = Generator(decoder, "mapping")
    z, condition = normal(3, 5), jnp.eye(4)[jnp.array([0, 3, 1])]
    variables = draw(generator, z, False, condition)
    weights = normal(3, 8, 8, 2)

    def loss(params):
        made, _ = generator.apply(
            {**variables, "params": params}, z, True, condition, mutable=["batch_stats"]
        )
        return jnp.sum(made * weights), made

    (_, made), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    theirs = Theirs(torch, variables["params"], variables["noise"])
    w = theirs.mapping(
        theirs.params["decoder"]["mapping"],
        double(torch, z),
        double(torch, condition),
    )
    assert decoder.count == 4
    styles = w[:, None].repeat(1, 4, 1)
    wanted = theirs.synthesize(styles, [4, 8], architecture, clamp).permute(0, 2, 3, 1)
    (wanted * double(torch, weights)).sum().backward()
    close(made, wanted.detach())
    close(grads, theirs.gradients())


@pytest.mark.parametrize(
    ("architecture", "clamp"),
    [("residual", None), pytest.param("skip", 2.0, marks=pytest.mark.full), ("plain", None)],
)
def test_discriminator_and_the_gradient_of_its_penalty(torch, architecture, clamp):
    config = dataclasses.replace(SMALL, architecture=architecture, clamp=clamp)
    network = Discriminator(StyleGAN2Encoder(config), Layers(), "mapping")
    images, condition = normal(8, 8, 8, 2), jnp.eye(4)[jnp.array([0, 3, 1, 1] * 2)]
    params = draw(network, images, False, condition)["params"]

    def loss(params):
        def logits(images):
            return network.apply({"params": params}, images, True, condition).logits

        values = logits(images)
        gradient = jax.grad(lambda x: jnp.sum(logits(x)))(images)
        return jnp.sum(jax.nn.softplus(values)) + 5 * jnp.mean(
            jnp.sum(jnp.square(gradient), (1, 2, 3))
        ), values

    (_, values), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    theirs, seen = Theirs(torch, params), nchw(torch, images)
    features = theirs.encode(seen, architecture, 4, clamp)
    mapped = theirs.mapping(theirs.params["mapping"], None, double(torch, condition))
    wanted = (theirs.dense(theirs.params["logit"], features) * mapped).sum(1)
    wanted = wanted / math.sqrt(mapped.shape[1])
    (gradient,) = torch.autograd.grad(wanted.sum(), seen, create_graph=True)
    penalty = gradient.square().sum((1, 2, 3)).mean()
    (torch.nn.functional.softplus(wanted).sum() + 5 * penalty).backward()
    close(values, wanted.detach())
    close(grads, theirs.gradients(), rtol=3e-4)


def test_images_of_other_sides_are_the_middle_of_the_next_power_of_two():
    assert map_sides(28) == map_sides(32) == [4, 8, 16, 32]
    with pytest.raises(UserError, match="makes no images of 6 pixels"):
        map_sides(6)
    whole, cut = (StyleGAN2Decoder((side, side, 1), SMALL) for side in (16, 12))
    z = normal(2, 5)
    variables = draw(whole, z, False)
    made, middle = (jax.jit(lambda v, n=n: n.apply(v, z, False))(variables) for n in (whole, cut))
    np.testing.assert_allclose(middle, made[:, 2:14, 2:14], rtol=1e-5, atol=1e-5)
    encoder, images = StyleGAN2Encoder(SMALL), normal(4, 12, 12, 1)
    variables = draw(encoder, images, False)
    grown = jnp.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    judge = jax.jit(lambda x: encoder.apply(variables, x, False))
    np.testing.assert_allclose(judge(images), judge(grown), rtol=1e-4)


def test_styles_are_mixed_from_a_layer_on():
    keys = jax.random.split(KEY, 4000)
    own, other = jnp.zeros((4000, 6, 1)), jnp.ones((4000, 6, 1))
    mixed = np.asarray(terms.mix_styles(own, other, 0.9, keys))[..., 0]
    assert (np.diff(mixed, axis=1) >= 0).all()
    assert (mixed[:, 0] == 0).all()
    firsts = np.bincount((6 - mixed.sum(1)).astype(int), minlength=7) / 4000
    np.testing.assert_allclose(firsts[1:6], 0.18, atol=0.03)
    assert firsts[6] == pytest.approx(0.1, abs=0.02)


def test_truncation():
    styles, mean = normal(3, 6, 4), normal(4)
    some = terms.truncate(styles, mean, 0.5, 2)
    np.testing.assert_allclose(some[:, :2], (mean + styles[:, :2]) / 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(some[:, 2:], styles[:, 2:])
    np.testing.assert_allclose(
        terms.truncate(styles, mean, 0.0, None), np.broadcast_to(mean, (3, 6, 4)), atol=1e-6
    )


def test_path_length_is_that_of_the_jacobian():
    matrix = normal(2 * 4, 4 * 4 * 3)
    styles = normal(5, 2, 4)

    def paint(styles):
        return jnp.sin(styles.reshape(-1, 8) @ matrix).reshape(-1, 4, 4, 3)

    place = jnp.arange(5) * 2
    painter = terms.Painter(styles, paint, jnp.float32(0.3), KEY, place, None)
    value, mean = terms.path_length(painter)
    noise = [jax.random.normal(key, (48,)) / 4 for key in example_keys(KEY, place)]
    lengths = []
    for style, y in zip(styles, noise, strict=True):
        jacobian = jax.jacobian(lambda s: paint(s[None]).ravel())(style)
        rows = np.einsum("p,pls->ls", y, jacobian)
        lengths.append(np.sqrt(np.square(rows).sum(1).mean()))
    wanted = 0.99 * 0.3 + 0.01 * np.mean(lengths)
    assert float(mean) == pytest.approx(wanted, rel=1e-5)
    assert float(value) == pytest.approx(np.mean(np.square(lengths - wanted)), rel=1e-4)


def spec(side=8, batch=4, fields=("image",)):
    image = {"image": Field((side, side, 1), "float32")}
    label = {"label": Field((), "int32", 3)}
    return Spec(batch, {**image, **label}, "image", ("label",) if "label" in fields else (), {})


def test_terms_of_the_generator_are_lazy_and_weighted_by_their_interval():
    params = {"a": jnp.float32(3.0)}

    def term(params, name, mean):
        return jnp.square(params["a"]), mean + 1

    latest = {"path_length": {"value": jnp.zeros(()), "mean": jnp.zeros(())}}
    total = 0.0
    for number in range(8):
        grads, latest = terms.generator_terms(
            {"path_length": (2.0, 4)}, term, params, jnp.int32(number), latest
        )
        total += float(grads["a"])
    assert total == pytest.approx(8 * 2.0 * 6.0)
    assert (float(latest["path_length"]["value"]), float(latest["path_length"]["mean"])) == (9, 2)


@pytest.mark.parametrize("conditioning", ["concat", "embed", "mapping"])
def test_labels_come_into_the_styles(conditioning):
    network = Generator(StyleGAN2Decoder((8, 8, 1), SMALL), conditioning)
    z, labels = normal(3, 5), jax.nn.one_hot(jnp.arange(3), 4)
    variables = network.init(KEY, z, False, labels)
    w = network.apply(variables, z, False, labels, method="map")
    styles = terms.repeat_style(network, w)
    images = network.apply(variables, styles, False, method="synthesize")
    close(images, network.apply(variables, z, False, labels))
    others = network.apply(variables, z, False, labels[::-1], method="map")
    np.testing.assert_array_equal(others[1], w[1])
    assert np.abs(others - w)[::2].max(axis=1).min() > 1e-3


@pytest.mark.full
def test_a_step_moves_all_players_and_the_mean_of_w():
    config = GANConfig(
        **STEP,
        style_mixing=0.5,
        penalties={"r1": (1.0, 1)},
        generator_penalties={"path_length": (2.0, 1)},
        generator_conditioning="mapping",
        discriminator_conditioning="mapping",
    )
    gan = make_gan(config, spec(fields=("image", "label")))
    state = gan.init(KEY)
    batch = {"image": normal(4, 8, 8, 1), "label": jnp.array([0, 1, 2, 0])}
    after, metrics = jax.jit(gan.step)(state, batch)
    assert all(np.isfinite(value) for value in metrics.values())
    assert metrics["generator/path_length"] > 0
    before, moved = (
        s.generator.variables["batch_stats"]["decoder"]["mean"] for s in (state, after)
    )
    assert np.abs(moved).max() > 0 == np.abs(before).max()
    for player in ("generator", "discriminator"):
        old, new = (getattr(s, player).params for s in (state, after))
        same = jax.tree.map(lambda a, b: bool((a == b).all()), old, new)
        assert not any(jax.tree.leaves(same)), player


@pytest.mark.full
def test_path_length_can_be_an_update_of_its_own():
    rule = Adam(learning_rate=0.01, b1=0.3, b2=0.9)
    penalties = {"path_length": (2.0, 4)}
    lazy = GANConfig(
        **STEP, generator_optimizer=rule, generator_penalties=penalties, lazy_updates=True
    )
    corrected = Adam(learning_rate=0.01 * 0.8, b1=0.3**0.8, b2=0.9**0.8)
    main = GANConfig(**STEP, generator_optimizer=corrected)
    batch, found = {"image": normal(4, 8, 8, 1)}, []
    for config in (lazy, main):
        gan = make_gan(config, spec())
        found.append(jax.jit(gan.step)(gan.init(KEY), batch)[0])
    player = found[1].generator

    @jax.jit
    def update(player):
        (_, mean), grads = jax.value_and_grad(style_term, has_aux=True)(
            player.params,
            "path_length",
            jnp.zeros(()),
            game=compose(main, spec(), None, 1),
            variables=player.variables,
            key=stream(KEY, "generator update", jnp.int32(0)),
            place=jnp.array([0, 2]),
            labels=None,
        )
        grads = jax.tree.map(lambda g: 8 * g, grads)
        return update_player(player, grads, player.variables, make_optimizer(corrected, 4)), mean

    player, mean = update(player)
    assert found[0].aux["generator_penalty"]["path_length"]["mean"] == pytest.approx(
        float(mean), rel=1e-4
    )
    assert int(found[0].generator.opt[0].count) == 2
    moved = found[0].generator.params
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=2e-4), moved, player.params)


@pytest.fixture(scope="module")
def trained():
    gan = make_gan(GANConfig(**STEP), spec())
    state = gan.init(KEY)
    strength = jax.tree_util.tree_map_with_path(
        lambda path, p: jnp.float32(0.5) if path[-1].key == "strength" else p, state.generator.ema
    )
    mean = {"decoder": {"mean": normal(6)}}
    ema = {**strength, "batch_stats": mean}
    return dataclasses.replace(state, generator=dataclasses.replace(state.generator, ema=ema))


def sample(state, index=(0, 1, 2), **options):
    gan = make_gan(GANConfig(**STEP), spec(), sampling=GANSampling(**options))
    return np.asarray(jax.jit(gan.sample)(state, KEY, jnp.array(index), {}))


def test_samples_are_as_asked_for(trained):
    usual = sample(trained)
    np.testing.assert_allclose(sample(trained, (2,)), usual[2:], atol=1e-5)
    for noise in ("const", "none"):
        assert np.abs(sample(trained, noise=noise) - usual).max() > 0.01
    alike = sample(trained, psi=0.0, noise="none")
    np.testing.assert_allclose(alike[1:], alike[:-1], atol=1e-5)
    assert np.abs(np.diff(sample(trained, psi=0.0), axis=0)).max() > 0.01
    assert np.abs(np.diff(sample(trained, psi=0.0, cutoff=2, noise="none"), axis=0)).max() > 0.01
    assert np.abs(sample(trained, bound=0.1, noise="none")).max() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"psi": 0.5}, "--psi is 0.5, but this generator has no styles"),
        ({"noise": "none"}, "--noise is none, but this generator has no styles"),
    ],
)
def test_options_of_styles_are_refused_without_them(options, message):
    with pytest.raises(UserError, match=message):
        make_gan(GANConfig(), spec(), sampling=GANSampling(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"psi": 0.5, "cutoff": 5}, "--cutoff is 5; this generator has 4 layers"),
        ({"cutoff": 2}, "--cutoff is 2, but --psi is 1, which truncates nothing"),
    ],
)
def test_a_cutoff_that_cuts_nothing_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        make_gan(GANConfig(**STEP), spec(), sampling=GANSampling(**options))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator_conditioning": "cbn", "discriminator_conditioning": "mapping"}, "'mapping'"),
        ({"generator": GANConfig().generator, "style_mixing": 0.5}, "style_mixing is for a"),
        (
            {"generator": GANConfig().generator, "generator_penalties": {"path_length": (2.0, 4)}},
            "path_length is for a generator of styles, but this one is 'dcgan'",
        ),
        ({"generator_penalties": {"length": (2.0, 4)}}, "unknown term of the generator's loss"),
        ({"joint_pass": True}, "stylegan2 stddev; turn it off"),
        (
            {"generator": dataclasses.replace(SMALL, spectral_norm=True)},
            "the generator is stylegan2, whose weights are scaled already",
        ),
        (
            {
                "discriminator": GANConfig().discriminator,
                "discriminator_conditioning": "mapping",
                "generator_conditioning": "mapping",
            },
            "discriminator_conditioning is 'mapping', which is stylegan2's",
        ),
    ],
)
def test_axes_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        make_gan(GANConfig(**{**STEP, **changes}), spec(fields=("image", "label")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mapping": 0}, "mapping is 0"),
        ({"clamp": 0.0}, "clamp is 0.0; it must be above 0"),
    ],
)
def test_configurations_that_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        StyleGAN2(**changes)
