"""The adversarial step against a plain re-computation, and what it must never do."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from specs import image_spec

from genjax.config import DCGAN, SGD, Goodfellow
from genjax.core.rng import latents, stream
from genjax.domains.image import scale_images
from genjax.errors import UserError
from genjax.families.gan.algorithm import make_gan
from genjax.families.gan.composition import make_networks

KEY = jax.random.key(0)
IMAGE = (8, 8, 1)


def build(config, size=16):
    algorithm = make_gan(config, image_spec(size, IMAGE))
    algorithm = algorithm._replace(step=algorithm.step, sample=jax.jit(algorithm.sample))
    return algorithm, jax.jit(algorithm.init)(KEY)


def scaled(batch):
    return {"image": scale_images(jnp.asarray(batch["image"]))}


def close(a, b, rtol=1e-7, atol=0.0):
    chex.assert_trees_all_close(a, b, rtol=rtol, atol=atol)


def same(a, b):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


@pytest.mark.parametrize("updates", [1, 2])
def test_step_is_sgd_on_each_players_own_loss(dense_gan, raw_batch, updates):
    """Goodfellow et al. 2014, algorithm 1, with -log D(G(z)), written with probabilities."""
    config = dataclasses.replace(dense_gan, discriminator_updates=updates)
    algorithm, state = build(config)
    batch = scaled(raw_batch(0, 16 * updates))
    new, metrics = algorithm.step(state, batch)

    g_network, d_network = make_networks(config, image_spec(16, IMAGE), None)
    rate, index = config.generator_optimizer.learning_rate, jnp.arange(16)

    def run(network, params, variables, x):
        return network.apply(
            {"params": params, **variables}, x, train=True, mutable=["batch_stats"]
        )

    def sgd(params, grads):
        return jax.tree.map(lambda p, g: p - rate * g, params, grads)

    g, d = state.generator, state.discriminator
    g_params, d_params, d_stats = g.params, d.params, d.variables
    for update in range(updates):
        key = stream(stream(KEY, "discriminator update", 0, update), "latent")
        z = latents(key, index, config.latent)
        fake, _ = jax.jit(lambda z: run(g_network, g_params, g.variables, z))(z)
        real = batch["image"][update::updates]

        def d_loss(params, stats, real=real, fake=fake):
            on_real, stats = run(d_network, params, stats, real)
            on_fake, stats = run(d_network, params, stats, fake)
            p_real, p_fake = jax.nn.sigmoid(on_real.logits), jax.nn.sigmoid(on_fake.logits)
            return -jnp.mean(jnp.log(p_real) + jnp.log(1 - p_fake)), stats

        (d_value, d_new_stats), grads = jax.jit(jax.value_and_grad(d_loss, has_aux=True))(
            d_params, d_stats
        )
        d_params, d_stats = sgd(d_params, grads), d_new_stats

    z = latents(stream(stream(KEY, "generator update", 0), "latent"), index, config.latent)

    def g_loss(params):
        fake, stats = run(g_network, params, g.variables, z)
        on_fake, _ = run(d_network, d_params, d_stats, fake)
        return -jnp.mean(jnp.log(jax.nn.sigmoid(on_fake.logits))), stats

    (g_value, g_stats), grads = jax.jit(jax.value_and_grad(g_loss, has_aux=True))(g_params)

    close(new.discriminator.params, d_params, atol=1e-6)
    close(new.discriminator.variables, d_stats, atol=1e-5)
    close(new.generator.params, sgd(g_params, grads), atol=1e-6)
    close(new.generator.variables, g_stats, atol=1e-5)
    np.testing.assert_allclose(metrics["discriminator/loss"], d_value, rtol=1e-5)
    np.testing.assert_allclose(metrics["generator/loss"], g_value, rtol=1e-5)
    assert int(new.step) == 1


def test_each_player_moves_by_its_own_optimizer_only(dense_gan, raw_batch):
    still, moving = SGD(learning_rate=1e-30), SGD(learning_rate=0.1)
    for player, other in (("generator", "discriminator"), ("discriminator", "generator")):
        optimizers = {f"{player}_optimizer": still, f"{other}_optimizer": moving}
        algorithm, state = build(dataclasses.replace(dense_gan, **optimizers))
        new, _ = algorithm.step(state, scaled(raw_batch(0, 16)))
        close(getattr(new, player).params, getattr(state, player).params, rtol=0, atol=1e-20)
        assert not same(getattr(new, other).params, getattr(state, other).params)


def test_noise_is_fresh_in_every_update_and_step(dense_gan, raw_batch):
    """With parameters that stand still, only the noise can change the fake logits."""
    still = SGD(learning_rate=1e-30)
    config = dataclasses.replace(
        dense_gan, generator_optimizer=still, discriminator_optimizer=still
    )
    algorithm, state = build(config)
    step, values = algorithm.step, []
    for _ in range(3):
        state, metrics = step(state, scaled(raw_batch(0, 16)))
        values.append(float(metrics["discriminator/fake_logit"]))
        values.append(float(metrics["generator/loss"]))
    assert len(set(values)) == len(values)


def test_ema_follows_the_generator(dense_gan, raw_batch):
    algorithm, state = build(dense_gan)
    new, _ = algorithm.step(state, scaled(raw_batch(0, 16)))
    current = {"params": new.generator.params, **new.generator.variables}
    wanted = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, state.generator.ema, current)
    close(new.generator.ema, wanted, rtol=1e-5, atol=1e-7)
    # Samples come from the average.
    average = algorithm.sample(new, KEY, jnp.arange(4), {})
    without = dataclasses.replace(new, generator=dataclasses.replace(new.generator, ema=None))
    assert not same(average, algorithm.sample(without, KEY, jnp.arange(4), {}))
    of_average = dataclasses.replace(
        without,
        generator=dataclasses.replace(
            without.generator,
            params=new.generator.ema["params"],
            variables={"batch_stats": new.generator.ema["batch_stats"]},
        ),
    )
    assert same(average, algorithm.sample(of_average, KEY, jnp.arange(4), {}))


def test_a_sample_does_not_depend_on_its_neighbours(dense_gan):
    algorithm, state = build(dense_gan)
    whole = algorithm.sample(state, KEY, jnp.arange(6), {})
    close(whole[4:], algorithm.sample(state, KEY, jnp.array([4, 5]), {}), atol=1e-6)


@pytest.mark.full
@pytest.mark.parametrize("kind", [DCGAN, Goodfellow])
def test_bfloat16_computes_with_float32_masters(dense_gan, raw_batch, kind):
    network = kind(width=8, spectral_norm=True)
    config = dataclasses.replace(
        dense_gan, generator=network, discriminator=network, dtype="bfloat16"
    )
    algorithm, state = build(config)
    text = str(jax.make_jaxpr(algorithm.step)(state, scaled(raw_batch(0, 16))))
    assert "bf16" in text
    new, metrics = algorithm.step(state, scaled(raw_batch(0, 16)))
    floats = [
        x
        for x in jax.tree.leaves((new.generator, new.discriminator, metrics))
        if jnp.issubdtype(x.dtype, jnp.floating)
    ]
    assert {x.dtype for x in floats} == {jnp.dtype("float32")}

    _, exact_metrics = build(dataclasses.replace(config, dtype="float32"))[0].step(
        state, scaled(raw_batch(0, 16))
    )
    for key in ("discriminator/loss", "generator/loss"):
        np.testing.assert_allclose(metrics[key], exact_metrics[key], rtol=0.05)


def test_unknown_names_list_the_choices(dense_gan):
    for change, message in (
        ({"loss": "minmax"}, "adversarial loss 'minmax'; did you mean 'minimax'"),
        ({"minibatch": "stdev"}, "minibatch layer 'stdev'; did you mean 'stddev'"),
        ({"augmentations": ("colour",)}, "augmentation 'colour'; did you mean 'color'"),
    ):
        with pytest.raises(UserError, match=message):
            build(dataclasses.replace(dense_gan, **change))
