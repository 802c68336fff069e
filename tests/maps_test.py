"""Denoisers that are given maps: what their networks see, noise on it, and what guides."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from denoising import moved

from genjax.config import (
    ConsistencyConfig,
    DenoisingMLP,
    DiffusionConfig,
    DiffusionSampling,
    DiT,
    MeanFlowConfig,
    UNet,
)
from genjax.core.from_loss import Context
from genjax.core.frozen import Frozen
from genjax.core.rng import example_keys, latents, stream
from genjax.core.schema import Field, Spec
from genjax.errors import UserError
from genjax.families.diffusion.algorithm import make_diffusion
from genjax.families.diffusion.conditions import conditions_of
from genjax.families.diffusion.consistency import make_consistency
from genjax.families.diffusion.mean_flow import make_mean_flow
from genjax.families.diffusion.told import some_taken
from genjax.nn.denoisers import make_denoiser

KEY = jax.random.key(1)
OWN = stream(KEY, "beside maps", 32)
"""Of a cascade's stages with one seed, each has noise of its own."""
INDEX = jnp.arange(3)
IMAGE = (4, 4, 2)
FIELDS = {"image": Field(IMAGE, "float32"), "small": Field((2, 2, 3), "float32")}
SPEC = Spec(4, FIELDS, "image", ("small",))
NETWORK = DiT(patch=2, width=8, depth=1, heads=2)
CONFIG = DiffusionConfig(network=NETWORK, conditional=True, label_dropout=0.5, ema_decay=None)
ONCE = DiffusionSampling(solver="euler", steps=1)
MAPS = np.random.default_rng(2).uniform(-1, 1, (4, 2, 2, 3)).astype(np.float32)


def build(options=ONCE, spec=SPEC, **changes):
    return make_diffusion(dataclasses.replace(CONFIG, **changes), spec, sampling=options)


@pytest.fixture(scope="module")
def state():
    return moved(build(), KEY)[1]


def enlarged(maps):
    """From 2 pixels a side to 4 by linear interpolation, in float64; the ends stay as they are."""
    places, own = (np.arange(4) + 0.5) / 2 - 0.5, np.arange(2)

    def along(axis, x):
        return np.apply_along_axis(lambda row: np.interp(places, own, row), axis, x)

    return along(2, along(1, np.float64(maps)))


def estimate(state, maps, network=NETWORK, changes=None):
    """What samples of one step are: the estimate of data at the most noise."""
    std, sigma = CONFIG.data_std, CONFIG.path.most
    noisy = sigma * np.float64(latents(OWN, INDEX, 32)).reshape(3, *IMAGE)
    scale = 1 / (sigma**2 + std**2) ** 0.5
    x = jnp.float32(np.concatenate([scale * noisy, enlarged(maps)], axis=-1))
    module = make_denoiser(network, IMAGE, 0, jnp.float32, None)
    told = (jnp.full(3, np.log(sigma) / 4), None, changes)
    apply = jax.jit(module.apply, static_argnums=2)
    said = apply({"params": state.network.params}, x, False, *told)
    assert said.shape == (3, *IMAGE)
    return std**2 * scale**2 * noisy + sigma * std * scale * np.float64(said)


def drawn(state, maps, options=ONCE, index=INDEX, **changes):
    algorithm = build(options, **changes)
    return np.asarray(jax.jit(algorithm.sample)(state, KEY, index, {"small": jnp.asarray(maps)}))


def test_a_network_sees_the_map_beside_the_scaled_image(state):
    """Interpolated, not scaled with the image, and nothing of it in what is added of the image."""
    wanted = np.clip(estimate(state, MAPS[:3]), -1, 1)
    made = drawn(state, MAPS[:3])
    np.testing.assert_allclose(made, wanted, atol=2e-5)
    assert (np.abs(made) < 1).any()
    # An example's map is no other's.
    other = drawn(state, MAPS[[0, 3, 2]])
    assert np.abs(made - other).max((1, 2, 3)).tolist()[::2] == [0, 0]
    assert np.abs(made - other)[1].max() > 1e-3


@pytest.mark.full
def test_a_unet_sees_it_too():
    network = UNet(width=4, widths=(1,), blocks=1)
    state = moved(build(network=network), KEY)[1]
    wanted = np.clip(estimate(state, MAPS[:3], network), -1, 1)
    np.testing.assert_allclose(drawn(state, MAPS[:3], network=network), wanted, atol=2e-4)


def test_guidance_leads_from_the_map_of_zeros(state):
    own, free = estimate(state, MAPS[:3]), estimate(state, np.zeros((3, 2, 2, 3)))
    guided = drawn(state, MAPS[:3], dataclasses.replace(ONCE, guidance=3.0))
    np.testing.assert_allclose(guided, np.clip(free + 3 * (own - free), -1, 1), atol=1e-4)


@pytest.mark.full
def test_dropout_leaves_maps_out():
    """The loss without what is left out is that of maps of zeros."""
    x = jnp.zeros((4, *IMAGE))

    def loss(dropout, maps):
        algorithm, state = moved(build(label_dropout=dropout), KEY)
        return algorithm.step(state, {"image": x, "small": maps})[1]["network/loss"]

    none = loss(0.0, jnp.zeros_like(MAPS))
    assert loss(0.999999, jnp.asarray(MAPS)) == none
    assert loss(0.0, jnp.asarray(MAPS)) != none


def noise_on_map():
    keys = example_keys(stream(OWN, "noise on small"), INDEX)
    return np.float64(jax.vmap(lambda key: jax.random.normal(key, (2, 2, 3)))(keys))


def test_noise_on_maps_of_samples_is_told():
    state = moved(build(condition_noise=0.4), KEY)[1]
    clean = drawn(state, MAPS[:3], condition_noise=0.4)
    wanted = estimate(state, MAPS[:3], changes=jnp.zeros((3, 1)))
    np.testing.assert_allclose(clean, np.clip(wanted, -1, 1), atol=2e-5)
    some = dataclasses.replace(ONCE, condition_noise=0.1)
    made = drawn(state, MAPS[:3], some, condition_noise=0.4)
    noisy = MAPS[:3] + 0.1 * noise_on_map()
    wanted = estimate(state, noisy, changes=jnp.full((3, 1), 0.25))
    np.testing.assert_allclose(made, np.clip(wanted, -1, 1), atol=2e-5)
    assert np.abs(made - clean).max() > 1e-3


@pytest.mark.full
def test_edits_have_the_noise_on_maps_that_samples_have():
    """From all noise on, an edit of zeros is the sample of the same latent."""
    state = moved(build(condition_noise=0.4), KEY)[1]
    algorithm = build(dataclasses.replace(ONCE, condition_noise=0.4), condition_noise=0.4)
    z, given = latents(KEY, INDEX, 32), {"small": jnp.asarray(MAPS[:3])}
    made = algorithm.latent.decode(state, z, KEY, INDEX, given)
    nothing = jnp.zeros((3, *IMAGE))
    edited = algorithm.editing.sdedit(state, z, nothing, KEY, INDEX, given, 1.0)
    np.testing.assert_allclose(edited, made, atol=1e-5)


def test_noise_in_training_is_of_a_strength_of_its_own_for_each_example():
    """Of U(0, most), as much as is told; nothing of it where all is left out."""
    spec = SPEC._replace(fields={**FIELDS, "small": Field((16, 16, 3), "float32")})
    clean = jnp.full((200, 16, 16, 3), 0.3)

    def taken(clean, place, rate):
        config = dataclasses.replace(CONFIG, condition_noise=0.4, label_dropout=rate)
        context = Context({}, place, KEY, KEY, KEY, jnp.int32(0), {})
        conditions = conditions_of(config, spec, "a model")
        return some_taken(conditions, {"small": clean}, context)

    found = taken(clean, jnp.arange(200), 0.0)
    strength = np.asarray(found.strength)
    apart = np.asarray(found.maps["small"] - clean).std((1, 2, 3))
    np.testing.assert_allclose(apart, strength, rtol=0.15, atol=1e-6)
    assert 0 <= strength.min() < 0.02 < 0.38 < strength.max() < 0.4
    assert abs(strength.mean() - 0.2) < 0.03
    # The same examples have the same noise in another batch.
    again = taken(clean[:10], jnp.arange(50, 60), 0.0)
    np.testing.assert_allclose(again.maps["small"], found.maps["small"][50:60], atol=1e-6)
    dropped = taken(clean, jnp.arange(200), 0.3)
    gone = (np.asarray(dropped.maps["small"]) == 0).all((1, 2, 3))
    assert 30 < gone.sum() < 90
    assert (np.asarray(dropped.strength)[gone] == 0).all()


@pytest.mark.full
@pytest.mark.parametrize(
    "make",
    [
        lambda common: make_mean_flow(MeanFlowConfig(**common), SPEC),
        lambda common: make_consistency(ConsistencyConfig(**common, condition_noise=0.1), SPEC),
    ],
)
def test_other_denoisers_take_maps(make):
    common = {"network": DenoisingMLP(width=8, depth=1), "conditional": True, "ema_decay": None}
    algorithm, state = moved(make(common), KEY)
    batch = {"image": jnp.zeros((4, *IMAGE)), "small": jnp.asarray(MAPS)}
    _, metrics = algorithm.step(state, batch)
    assert np.isfinite(metrics["network/loss"])
    made, other = (
        algorithm.sample(state, KEY, INDEX, {"small": jnp.asarray(maps)})
        for maps in (MAPS[:3], MAPS[1:])
    )
    assert np.abs(made - other).max() > 1e-3


def test_others_are_shown_no_more_noise_on_maps_than_they_learnt_with():
    other = Frozen(CONFIG, SPEC, {})
    some = dataclasses.replace(ONCE, guide="x", guidance=2.0, condition_noise=0.1)
    noisy = dataclasses.replace(CONFIG, condition_noise=0.2)
    words = r"is shown maps with noise of up to 0.\d, but learnt with at most 0; set condition_n"
    with pytest.raises(UserError, match=f"guide {words}"):
        make_diffusion(noisy, SPEC, sampling=some, networks={"guide": other})
    config = ConsistencyConfig(
        network=NETWORK, conditional=True, condition_noise=0.2, teacher="x", ema_decay=None
    )
    with pytest.raises(UserError, match=f"teacher {words}"):
        make_consistency(config, SPEC, networks={"teacher": other})
    clean = dataclasses.replace(some, condition_noise=0.0)
    assert make_diffusion(noisy, SPEC, sampling=clean, networks={"guide": other}).sample


def test_what_is_refused():
    with pytest.raises(
        UserError, match=r"condition_noise is 0.1, but the model is given no labels"
    ):
        build(conditional=False, label_dropout=0.0, condition_noise=0.1)
    labels = {**FIELDS, "label": Field((), "int32", 2)}
    with pytest.raises(UserError, match=r"condition_noise is 0.1, but the model is given no map"):
        build(spec=SPEC._replace(fields=labels, given=("label",)), condition_noise=0.1)
    some = dataclasses.replace(ONCE, condition_noise=0.3)
    with pytest.raises(UserError, match=r"of samples is 0.3, but the model learnt with none"):
        build(some)
    with pytest.raises(UserError, match=r"of samples is 0.3, but the model learnt with at most 0"):
        build(some, condition_noise=0.2)
    with pytest.raises(UserError, match=r"augment is 0.5, but it does not change the map 'small'"):
        build(augment=0.5)
    with pytest.raises(UserError, match="the map 'small' beside images, and not beside latents of"):
        build(spec=SPEC._replace(coded=True))
    with pytest.raises(UserError, match=r"has 'small', uint8 of shape \(2, 2, 3\)"):
        build(spec=SPEC._replace(fields={**FIELDS, "small": Field((2, 2, 3), "uint8")}))
