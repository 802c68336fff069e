"""GANs of styles: mixing, truncation, path lengths, and what fits together."""

import dataclasses
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
from genjax.families.gan.networks import Generator
from genjax.nn.stylegan2 import StyleGAN2Decoder

KEY = jax.random.key(6)
RNG = np.random.default_rng(0)
SMALL = StyleGAN2(channel_base=64, channel_max=8, style=6, mapping=2)
STEP = {
    "discriminator": dataclasses.replace(SMALL, stddev=2),
    "generator": SMALL,
    "latent": 5,
    "ema_decay": 0.9,
}


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
            known=None,
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


@pytest.mark.full
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
