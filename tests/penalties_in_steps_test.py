"""Penalties within the updates of D: how often, with which averages, schedules and origins."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from scenes import AVERAGE_FAKE, AVERAGE_REAL, BATCH, FAKE, IMAGE, KEY, REAL, make_scene
from specs import image_spec

from genjax.config import MLP, SGD, Piecewise
from genjax.core.rng import latents, stream
from genjax.families.gan import augment
from genjax.families.gan.algorithm import make_gan
from genjax.families.gan.composition import make_networks
from genjax.families.gan.penalties import Origin, penalty_terms


def test_lazy_penalties():
    """Karras et al. 2020, section 3.1: every n-th update, with n times the weight."""
    weights = {"r1": (2.0, 1), "lecam": (0.5, 3)}

    def total(slope, number, latest):
        scene = make_scene(lambda x: slope * jnp.sum(x, (1, 2, 3)))
        return penalty_terms(weights, scene, number, latest)

    run = jax.jit(jax.value_and_grad(total, has_aux=True))
    real, fake = (x.astype(np.float64).sum((1, 2, 3)) for x in (REAL, FAKE))
    latest, factors = {"r1": jnp.zeros(()), "lecam": jnp.float32(-8)}, []
    for number in range(6):
        slope = 1 + 0.1 * number
        (value, latest), gradient = run(jnp.float32(slope), jnp.int32(number), latest)
        # The gradient by each of the 16 pixels is the slope.
        r1, r1_gradient = 16 * slope**2 / 2, 16 * slope
        a, b = slope * real - AVERAGE_FAKE, slope * fake - AVERAGE_REAL
        lecam, lecam_gradient = np.mean(a**2 + b**2), np.mean(2 * a * real + 2 * b * fake)
        factor = 3 * 0.5 if number % 3 == 0 else 0
        np.testing.assert_allclose(value, 2 * r1 + factor * lecam, rtol=1e-5)
        expected = 2 * r1_gradient + factor * lecam_gradient
        np.testing.assert_allclose(gradient, expected, rtol=1e-5)
        last = lecam if factor else last
        np.testing.assert_allclose(latest["r1"], r1, rtol=1e-5)
        np.testing.assert_allclose(latest["lecam"], last, rtol=1e-5)
        factors.append(factor)
    assert np.mean(factors) == 0.5


def test_a_lazy_penalty_is_not_computed_in_between():
    def critic(x):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.sum(x, (1, 2, 3))

    run = jax.jit(
        lambda number: penalty_terms(
            {"r1": (1.0, 2)},
            make_scene(lambda x: jnp.zeros(x.shape[0]))._replace(
                real_origin=Origin(jnp.asarray(REAL), critic)
            ),
            number,
            {"r1": jnp.zeros(())},
        )
    )
    for number, wanted in ((0, 1), (1, 0), (2, 1)):
        calls = []
        run(jnp.int32(number))
        jax.effects_barrier()
        assert len(calls) == wanted


def test_running_averages_and_laziness_in_a_step(small_gan):
    """LeCam's anchors are running averages of D's logits, this update's among them, and no
    gradient flows into them; a lazy penalty counts the updates of D. D descends their sum, times
    what their schedule says, which counts D's images."""
    network = MLP(width=4, depth=1, norm="none")
    config = dataclasses.replace(
        small_gan,
        generator=network,
        discriminator=network,
        discriminator_optimizer=SGD(learning_rate=0.1),
        penalties={"lecam": (0.3, 1), "r1": (1.0, 2)},
        penalty_schedule=Piecewise(boundaries=(2 * BATCH,), factors=(3.0,), unit="images"),
        ema_decay=None,
    )
    spec = image_spec(BATCH, IMAGE)
    algorithm = make_gan(config, spec)
    generator, discriminator = make_networks(config, spec, None)
    step, state = jax.jit(algorithm.step), jax.jit(algorithm.init)(KEY)
    logits, values = {"real": [], "fake": []}, {"lecam": [], "r1": []}

    def whole_loss(params, fake, average_real, average_fake, factor):
        def critic(x):
            return discriminator.apply({"params": params}, x, True).logits

        s_real, s_fake = critic(jnp.asarray(REAL)), critic(fake)
        cross_entropy = -jnp.log(jax.nn.sigmoid(s_real)) - jnp.log(1 - jax.nn.sigmoid(s_fake))
        lecam = (s_real - average_fake) ** 2 + (s_fake - average_real) ** 2
        slope = jax.vmap(jax.grad(lambda x: critic(x[None])[0]))(jnp.asarray(REAL))
        r1 = jnp.sum(slope**2, (1, 2, 3)) / 2
        return jnp.mean(cross_entropy + factor * (0.3 * lecam + 2 * 1.0 * r1))

    for number in range(3):
        key = stream(stream(KEY, "discriminator update", number, 0), "latent")
        z = latents(key, jnp.arange(BATCH), config.latent)
        made, _ = generator.apply({"params": state.generator.params}, z, True, mutable=[])
        for kind, images in (("real", jnp.asarray(REAL)), ("fake", made)):
            judged = discriminator.apply({"params": state.discriminator.params}, images, True)
            logits[kind].append(np.float64(judged.logits))
        before = state.discriminator.params
        state, metrics = step(state, {"image": jnp.asarray(REAL)})
        for name in values:
            values[name].append(float(metrics[f"discriminator/{name}"]))
        # The first hundred updates have equal weights.
        anchor = {kind: np.mean(logits[kind]) for kind in logits}
        np.testing.assert_allclose(state.aux["average_real"], anchor["real"], rtol=1e-4)
        np.testing.assert_allclose(state.aux["average_fake"], anchor["fake"], rtol=1e-4)
        real, fake = logits["real"][-1], logits["fake"][-1]
        expected = np.mean((real - anchor["fake"]) ** 2 + (fake - anchor["real"]) ** 2)
        np.testing.assert_allclose(values["lecam"][-1], expected, rtol=1e-4)
        if number != 1:
            averages = (anchor["real"], anchor["fake"])
            factor = 3.0 if number == 2 else 1.0
            gradient = jax.jit(jax.grad(whole_loss))(before, made, *averages, factor)
            moved = jax.tree.map(lambda p, g: p - 0.1 * g, before, gradient)
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
                state.discriminator.params,
                moved,
            )
    assert values["r1"][0] == values["r1"][1] != values["r1"][2]


def test_r1_differentiates_by_images_before_their_augmentation(small_gan, monkeypatch):
    """D sees 2 x of each: its gradient by x is twice that by what it sees, at the same points."""
    monkeypatch.setitem(augment.AUGMENTATIONS, "double", lambda image, key: 2 * image)
    config = dataclasses.replace(
        small_gan,
        discriminator=MLP(width=4, depth=1, norm="none"),
        penalties={"r1": (1.0, 1), "r2": (1.0, 1)},
    )
    found = {}
    for names, images in (((), 2 * REAL), (("double",), REAL)):
        algorithm = make_gan(
            dataclasses.replace(config, augmentations=names), image_spec(BATCH, IMAGE)
        )
        _, metrics = jax.jit(algorithm.step)(
            jax.jit(algorithm.init)(KEY), {"image": jnp.asarray(images)}
        )
        found[names] = {name: float(metrics[f"discriminator/{name}"]) for name in ("r1", "r2")}
    assert found[()]["r1"] > 0
    np.testing.assert_allclose(found["double",]["r1"], 4 * found[()]["r1"], rtol=1e-4)
    # What is generated D sees twice as large, too, so that its gradient there is another.
    assert found["double",]["r2"] > 1.1 * found[()]["r2"]
