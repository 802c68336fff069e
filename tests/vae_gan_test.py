"""The VAE/GAN's step against each player's loss, computed apart."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_process import genjax, refusal
from specs import image_spec

from genjax.config import MLP, SGD, VAEGANConfig
from genjax.core.parallel import compile_step, mapped_axis, step_once
from genjax.core.rng import latents, stream
from genjax.domains.image import IMAGE as IMAGES
from genjax.domains.image import scale_images
from genjax.errors import UserError
from genjax.families.registry import with_stored
from genjax.families.vae_gan import make_networks, make_vae_gan
from genjax.run.interpolation import Way, interpolate_run
from genjax.run.sampling import sample_run

KEY = jax.random.key(0)
IMAGE = (8, 8, 1)
PLAYERS = ("encoder", "generator", "discriminator")


@pytest.fixture
def small_vae_gan():
    """Three learning rates, so that no player can take another's optimizer."""
    network = MLP(width=8, depth=1, norm="batch")
    optimizers = {
        f"{name}_optimizer": SGD(learning_rate=rate)
        for name, rate in zip(PLAYERS, (0.01, 0.02, 0.03), strict=True)
    }
    return VAEGANConfig(
        encoder=network,
        generator=network,
        discriminator=network,
        latent=3,
        beta=0.7,
        reconstruction=0.3,
        ema_decay=0.9,
        **optimizers,
    )


def build(config, size=8):
    algorithm = make_vae_gan(config, image_spec(size, IMAGE))
    return algorithm, jax.jit(algorithm.init)(KEY)


def close(a, b, rtol=1e-7, atol=0.0):
    chex.assert_trees_all_close(a, b, rtol=rtol, atol=atol)


def plain_losses(config, state, images):
    """Larsen et al. 2016, algorithm 1, with probabilities.

    Returns each player's loss, its statistics, and its loss's gradient in its own parameters.
    """
    networks = dict(zip(PLAYERS, make_networks(config, image_spec(8, IMAGE), None), strict=True))
    key, index = stream(KEY, "update", 0), jnp.arange(8)

    def losses(params):
        variables = {name: getattr(state, name).variables for name in PLAYERS}

        def apply(name, x):
            output, variables[name] = networks[name].apply(
                {"params": params[name], **variables[name]}, x, True, mutable=["batch_stats"]
            )
            return output

        mean, log_variance = apply("encoder", images)
        noise = latents(stream(key, "posterior"), index, config.latent)
        prior = -(1 + log_variance - mean**2 - jnp.exp(log_variance)).sum(axis=1).mean() / 2
        reconstructions = apply("generator", mean + jnp.exp(log_variance) ** 0.5 * noise)
        samples = apply("generator", latents(stream(key, "prior"), index, config.latent))
        real, *fakes = [apply("discriminator", x) for x in (images, reconstructions, samples)]
        likelihood = (((real.features - fakes[0].features) ** 2).sum(axis=1) / 2).mean()
        p_real, (p_reconstruction, p_sample) = (
            jax.nn.sigmoid(real.logits),
            (jax.nn.sigmoid(fake.logits) for fake in fakes),
        )
        game = jnp.log(p_real) + (jnp.log(1 - p_reconstruction) + jnp.log(1 - p_sample)) / 2
        fooling = (jnp.log(p_reconstruction) + jnp.log(p_sample)) / 2
        values = {
            "encoder": config.beta * prior + likelihood,
            "generator": config.reconstruction * likelihood - fooling.mean(),
            "discriminator": -game.mean(),
        }
        return values, (values, variables)

    params = {name: getattr(state, name).params for name in PLAYERS}
    grads, (values, variables) = jax.jacrev(losses, has_aux=True)(params)
    return values, variables, {name: grads[name][name] for name in PLAYERS}


def test_step_is_sgd_on_each_players_own_loss(small_vae_gan, raw_batch):
    config = small_vae_gan
    algorithm, state = build(config)
    images = scale_images(jnp.asarray(raw_batch(0, 8)["image"]))
    new, metrics = jax.jit(algorithm.step)(state, {"image": images})
    values, variables, grads = jax.jit(lambda s, x: plain_losses(config, s, x))(state, images)
    for name in PLAYERS:
        before, after = getattr(state, name), getattr(new, name)
        rate = getattr(config, f"{name}_optimizer").learning_rate
        wanted = jax.tree.map(lambda p, g, rate=rate: p - rate * g, before.params, grads[name])
        close(after.params, wanted, atol=1e-6)
        moved = jax.tree.leaves(jax.tree.map(np.array_equal, before.params, after.params))
        assert not all(moved)
        close(after.variables, variables[name], atol=1e-5)
        np.testing.assert_allclose(metrics[f"{name}/loss"], values[name], rtol=1e-5)
        norm = np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(grads[name])))
        np.testing.assert_allclose(metrics[f"{name}/gradient_norm"], norm, rtol=1e-5)
    assert int(new.step) == 1

    # Samples come from the generator's average, and one does not depend on the others.
    wanted = jax.tree.map(
        lambda a, b: 0.9 * a + 0.1 * b, state.generator.ema["params"], new.generator.params
    )
    close(new.generator.ema["params"], wanted, atol=1e-6)
    sample = jax.jit(algorithm.sample)
    whole = sample(new, KEY, jnp.arange(6), {})
    close(whole[4:], sample(new, KEY, jnp.array([4, 5]), {}), atol=1e-6)
    player = dataclasses.replace(new.generator, params=None, variables=None)
    average_alone = dataclasses.replace(new, generator=player)
    np.testing.assert_array_equal(whole, sample(average_alone, KEY, jnp.arange(6), {}))

    shown = jax.jit(algorithm.show)(new, {"image": images}, KEY)
    panel = shown["reconstructions"]
    assert panel.shape == (16, *IMAGE)
    np.testing.assert_array_equal(panel[::2], images)


def run(config, mode, count, raw_batch, steps=2):
    axis_name = mapped_axis(mode)
    algorithm = make_vae_gan(config, image_spec(16, IMAGE), axis_name)
    compiled = compile_step(
        with_stored(algorithm, IMAGES, ("flip",), axis_name), mode, jax.devices()[:count]
    )
    state = compiled.init(KEY)
    for step in range(steps):
        state, metrics = step_once(compiled, state, raw_batch(step, 16))
    return jax.device_get(([getattr(state, name) for name in PLAYERS], metrics))


def test_pmap_agrees_with_jit(small_vae_gan, raw_batch):
    """With batch norm and a loss that compares with the whole batch. (The program of mode mesh is
    that of jit.)"""
    config = dataclasses.replace(small_vae_gan, loss="relativistic_average")
    reference = run(config, "jit", 1, raw_batch)
    other = run(config, "pmap", 8, raw_batch)
    for a, b in zip(jax.tree.leaves(reference), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * max(1, np.abs(a).max()))


def test_bfloat16_computes_with_float32_masters(small_vae_gan, raw_batch):
    algorithm, state = build(dataclasses.replace(small_vae_gan, dtype="bfloat16"))
    images = scale_images(jnp.asarray(raw_batch(0, 8)["image"]))
    assert "bf16" in str(jax.make_jaxpr(algorithm.step)(state, {"image": images}))
    new, metrics = jax.eval_shape(algorithm.step, state, {"image": images})
    leaves = jax.tree.leaves(([getattr(new, name) for name in PLAYERS], metrics))
    floats = [x for x in leaves if x.dtype != jnp.int32]
    assert {x.dtype for x in floats} == {jnp.dtype("float32")}


def test_mistakes_name_the_value_and_the_choices(small_vae_gan):
    network = small_vae_gan.generator
    for changes, message in (
        ({"loss": "minmax"}, "adversarial loss 'minmax'; did you mean 'minimax'"),
        (
            {"generator": dataclasses.replace(network, norm="virtual")},
            "norm 'virtual' is for a GAN's generator",
        ),
    ):
        with pytest.raises(UserError, match=message):
            build(dataclasses.replace(small_vae_gan, **changes))


@pytest.mark.full
def test_latents_have_ways_but_no_directions(tmp_path):
    run = tmp_path / "run"
    kinds = [f"--model.{player}.name=mlp" for player in PLAYERS]
    small = [f"--model.{player}.width=4" for player in PLAYERS]
    flags = ["--data.name", "digits", "--model.latent", 3, "--batch-size", 8, "--steps", 1]
    flags += ["--eval.rank", "none", "--eval.held-out", 0, "--mode", "jit"]
    outcome = genjax("train", "vae-gan-mnist", *kinds, *small, *flags, "--out", run)
    assert outcome.status == 0, outcome
    made = interpolate_run(run, 5, "last", Way(rows=2, keys=2, steps=2, space=None, closed=False))
    assert (made.space, made.frames.shape) == ("z", (3, 2, 8, 8, 1))
    samples = sample_run(run, 5, "last", 4).samples.reshape(2, 2, 8, 8, 1)
    assert np.abs(np.int32(made.frames[::2].swapaxes(0, 1)) - samples).max() <= 1
    for method in ("sefa", "ganspace"):
        said = refusal("directions", run, "--method", method)
        assert "is of family vae_gan, and directions are those of GANs" in said
    assert not (run / "directions.png").exists()
