"""Models of an autoencoder's latents: the same as models of data, between its two halves."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_process import genjax, refusal
from specs import image_spec

from genjax.config import (
    MLP,
    AutoencoderKL,
    DenoisingMLP,
    DiffusionConfig,
    GANConfig,
    MeanFlowConfig,
    VAEConfig,
)
from genjax.core.frozen import Frozen, with_frozen
from genjax.core.rng import latents, stream
from genjax.core.schema import Field
from genjax.errors import UserError
from genjax.families.diffusion.algorithm import make_diffusion
from genjax.families.diffusion.mean_flow import make_mean_flow
from genjax.families.latent_space import in_any_space
from genjax.families.vae.algorithm import make_autoencoder, make_vae
from genjax.families.vae.likelihoods import LIKELIHOODS, binarize

KEY = jax.random.key(3)
IMAGE, INDEX = (4, 4, 1), jnp.arange(8)
SPEC = image_spec(8, IMAGE)
WITHIN = {
    "vector": ((3,), VAEConfig(encoder=MLP(width=8), decoder=MLP(width=8), latent=3)),
    "map": (
        (2, 2, 2),
        VAEConfig(
            encoder=(kl := AutoencoderKL(width=4, widths=(1, 2), blocks=1, channels=2)),
            decoder=kl,
            likelihood="gaussian",
            latent=8,
        ),
    ),
}


@functools.cache
def autoencoder(kind):
    """Another run's VAE, and what it makes of examples and latents."""
    config = WITHIN[kind][1]
    algorithm = make_vae(config, SPEC)
    net = jax.jit(algorithm.init)(KEY).autoencoder
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: np.asarray(x) + rng.normal(0, 0.2, x.shape).astype(np.float32), net.params
    )
    variables = {"params": params, **jax.device_get(net.variables)}
    return Frozen(config, SPEC, {"autoencoder": variables})


def build(kind, config, make):
    config = dataclasses.replace(
        config, network=DenoisingMLP(width=8, depth=1), autoencoder="a run", latent_scale=0.25
    )
    networks = {"autoencoder": autoencoder(kind)}
    algorithm = in_any_space(make)(config, SPEC, networks=networks)
    shape = WITHIN[kind][0]
    fields = {"image": Field(shape, "float32")}
    inner = make(config, SPEC._replace(fields=fields, coded=True))
    return algorithm, inner, with_frozen(jax.jit(algorithm.init)(KEY), networks)


def halves(kind):
    """From examples and noise to latents, and back, by the VAE alone."""
    network = autoencoder(kind)
    likelihood = LIKELIHOODS[network.model.likelihood]
    module = make_autoencoder(network.model, SPEC, None, likelihood)
    variables = jax.tree.map(jnp.asarray, network.variables["autoencoder"])

    def encode(x, noise):
        mean, log_variance = module.apply(variables, x, method="encode")
        return mean + jnp.exp(log_variance / 2) * noise

    def decode(z):
        return likelihood.mean(module.apply(variables, z, method="decode")[0])

    return encode, decode


@pytest.mark.parametrize(
    ("kind", "config", "make"),
    [
        ("vector", MeanFlowConfig(), make_mean_flow),
        pytest.param("map", DiffusionConfig(), make_diffusion, marks=pytest.mark.full),
    ],
)
def test_steps_losses_and_samples_are_those_of_latents(kind, config, make):
    algorithm, inner, state = build(kind, config, make)
    encode, decode = halves(kind)
    shape = WITHIN[kind][0]
    x = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (8, *IMAGE)).astype(np.float32))

    def coded(key):
        noise = latents(stream(key, "encode"), INDEX, int(np.prod(shape)))
        seen = binarize(x, stream(key, "binarize"), INDEX) if kind == "vector" else x
        return {"image": 0.25 * encode(seen, noise).reshape(8, *shape)}

    after, metrics = jax.jit(algorithm.step)(state, {"image": x})
    wanted, expected = jax.jit(inner.step)(state, coded(stream(KEY, "latent space", 0)))
    for name in expected:
        np.testing.assert_allclose(metrics[name], expected[name], rtol=1e-4)
    for a, b in zip(jax.tree.leaves(after.network), jax.tree.leaves(wanted.network), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    chex.assert_trees_all_equal(after.frozen, state.frozen)
    held_out = algorithm.evaluate(state, {"image": x}, KEY)["evaluation/loss"]
    expected = inner.evaluate(state, coded(KEY), KEY)["evaluation/loss"]
    np.testing.assert_allclose(held_out, expected, rtol=1e-3)
    samples = jax.jit(algorithm.sample)(state, KEY, INDEX, {})
    z = inner.sample(state, KEY, INDEX, {})
    assert samples.shape == (8, *IMAGE)
    assert np.abs(z).max() > 1
    np.testing.assert_allclose(samples, decode(z.reshape(8, -1) / 0.25), atol=1e-3)
    assert algorithm.spec == SPEC
    assert algorithm.log_likelihood is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": GANConfig()}, "family 'vae' that is given no labels, but this is 'gan'"),
        ({"model": VAEConfig(conditional=True)}, "but this is 'a conditional one'"),
        ({"spec": image_spec(8, (8, 8, 1))}, r"learnt from \(8, 8, 1\), but the data have \(4, 4"),
    ],
)
def test_autoencoders_that_do_not_fit_are_refused(changes, message):
    config = DiffusionConfig(network=DenoisingMLP(width=8, depth=1), autoencoder="a run")
    networks = {"autoencoder": autoencoder("vector")._replace(**changes)}
    with pytest.raises(UserError, match=message):
        in_any_space(make_diffusion)(config, SPEC, networks=networks)


def test_a_map_of_latents_has_as_many_numbers_as_z():
    config = dataclasses.replace(WITHIN["map"][1], latent=20)
    with pytest.raises(UserError, match=r"set --model.latent 8"):
        jax.eval_shape(make_vae(config, SPEC).init, KEY)
    config = dataclasses.replace(config, encoder=MLP(width=8))
    with pytest.raises(UserError, match=r"kl makes 2 x 2 x 2 numbers; set --model.latent 8"):
        jax.eval_shape(make_vae(config, SPEC).init, KEY)
    with pytest.raises(UserError, match=r"can't halve images of 5 pixels 1 times; .* 6"):
        jax.eval_shape(make_vae(config, image_spec(8, (5, 5, 1))).init, KEY)


@pytest.mark.full
def test_a_run_of_latents_by_the_command_line(tmp_path):
    few = ("--steps", "4", "--batch-size", "16", "--sample-every", "4", "--checkpoint-every", "4")
    vae, run = tmp_path / "vae", tmp_path / "run"
    tiny = ("--model.encoder.width", "8", "--model.decoder.width", "8")
    trained = genjax("train", "vae-digits", *few, *tiny, "--model.latent", "4", "--out", vae)
    assert trained.status == 0, trained.err
    network = ("--model.network.name", "mlp", "--model.network.width", "8")
    aimed = (*few, *network, "--model.autoencoder", vae, "--out", run)
    trained = genjax("train", "diffusion-digits", *aimed)
    assert trained.status == 0, trained.err
    drawn = genjax("sample", run, "--n", "3", "--npz", tmp_path / "a.npz")
    assert drawn.status == 0, drawn.err
    assert np.load(tmp_path / "a.npz")["images"].shape == (3, 8, 8, 1)
    missing = refusal("train", "diffusion-digits", "--model.autoencoder", tmp_path / "no")
    assert f"autoencoder is {tmp_path / 'no'}: " in missing
