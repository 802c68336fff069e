"""The autoencoder's step against a plain re-computation, and its bounds against exact values."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats
from specs import image_spec

from genjax.config import MLP, SGD, Goodfellow, VAEConfig
from genjax.core.parallel import compile_step, mapped_axis, step_once
from genjax.core.rng import latents, stream
from genjax.core.spectral import power_iteration
from genjax.domains.image import IMAGE as IMAGES
from genjax.domains.image import scale_images
from genjax.errors import UserError
from genjax.families.registry import with_stored
from genjax.families.vae.algorithm import importance_bounds, kl_weight, make_vae, manifold_grid
from genjax.families.vae.likelihoods import binarize
from genjax.families.vae.networks import Posterior, kl_divergence, log_density

KEY = jax.random.key(0)
IMAGE = (8, 8, 1)
OPTIMIZER = SGD(learning_rate=0.01)


@pytest.fixture
def small_vae():
    network = MLP(width=8, depth=1, norm="none")
    return VAEConfig(
        encoder=network, decoder=network, optimizer=OPTIMIZER, latent=3, importance_samples=4
    )


@pytest.fixture
def batch(raw_batch):
    return {
        "image": scale_images(jnp.asarray(raw_batch(0, 8)["image"])),
        "label": jnp.arange(8) % 3,
    }


@functools.cache
def build(config, image=IMAGE):
    algorithm = make_vae(config, image_spec(8, image, 3))
    functions = ("step", "sample", "evaluate", "show")
    compiled = {name: jax.jit(getattr(algorithm, name)) for name in functions}
    return algorithm._replace(**compiled), jax.jit(algorithm.init)(KEY)


def replace_player(state, **changes):
    player = dataclasses.replace(state.autoencoder, **changes)
    return dataclasses.replace(state, autoencoder=player)


def close(a, b, rtol=1e-7, atol=0.0):
    chex.assert_trees_all_close(a, b, rtol=rtol, atol=atol)


def same(a, b):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


def test_kl_divergence_is_the_integral():
    means, log_variances = np.array([[0.0, 1.3, -2.0]]), np.array([[0.0, -3.0, 1.5]])
    posterior = Posterior(jnp.float32(means), jnp.float32(log_variances))
    expected = []
    for mean, log_variance in zip(means[0], log_variances[0], strict=True):
        q, p = stats.norm(mean, np.exp(log_variance / 2)), stats.norm()
        value, _ = integrate.quad(
            lambda z, q=q, p=p: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), *q.interval(1 - 1e-12)
        )
        expected.append(value)
    np.testing.assert_allclose(kl_divergence(posterior)[0], expected, rtol=1e-5, atol=1e-7)


def test_log_density():
    rng = np.random.default_rng(0)
    z, mean, log_variance = rng.normal(size=(3, 5, 4))
    arrays = [jnp.float32(x) for x in (z, mean, log_variance)]
    expected = stats.norm.logpdf(z, mean, np.exp(log_variance / 2)).sum(axis=-1)
    np.testing.assert_allclose(log_density(arrays[0], Posterior(*arrays[1:])), expected, rtol=1e-5)


def plain_loss(params, images, noise, config, step):
    """The objective in one piece, for networks of one hidden layer; also its parts."""

    def affine(layer, x):
        return x @ layer["kernel"] + layer["bias"]

    encoder, decoder = params["encoder"], params["decoder"]
    flat = images.reshape(len(images), -1)
    hidden = affine(encoder["network"]["Dense_0"], flat)
    hidden = jnp.where(hidden > 0, hidden, 0.2 * hidden)
    moments = affine(encoder["moments"], hidden)
    mean, log_variance = moments[:, : config.latent], moments[:, config.latent :]
    z = mean + jnp.sqrt(jnp.exp(log_variance)) * noise
    hidden = jnp.maximum(affine(decoder["network"]["Dense_0"], z), 0)
    output = affine(decoder["network"]["Dense_1"], hidden)
    if config.likelihood == "bernoulli":
        p, white = jax.nn.sigmoid(output), (flat + 1) / 2
        log_prob = white * jnp.log(p) + (1 - white) * jnp.log(1 - p)
    else:
        scale = jnp.exp(decoder["log_scale"]) if config.scale is None else config.scale
        log_prob = -(((flat - output) / scale) ** 2) / 2 - jnp.log(scale * jnp.sqrt(2 * jnp.pi))
    reconstruction = -log_prob.sum() / len(images)
    divergence = -(1 + log_variance - mean**2 - jnp.exp(log_variance)).mean(axis=0) / 2
    weight = config.beta
    if config.beta_warmup:
        weight *= min(1, step / config.beta_warmup)
    charged = sum(jnp.maximum(config.free_bits, kl) for kl in divergence)
    return reconstruction + weight * charged, (reconstruction, divergence.sum())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"binarize": False},
        {"likelihood": "gaussian", "beta": 0.7, "beta_warmup": 4, "free_bits": 0.1},
        {"likelihood": "gaussian", "scale": 0.5},
    ],
)
def test_step_is_sgd_on_the_objective(small_vae, batch, changes):
    config = dataclasses.replace(small_vae, **changes)
    algorithm, state = build(config)
    state = dataclasses.replace(state, step=jnp.int32(2))
    new, metrics = algorithm.step(state, batch)

    @jax.jit
    def plain(params, images):
        key, index = stream(KEY, "autoencoder update", 2), jnp.arange(8)
        if config.likelihood == "bernoulli" and config.binarize:
            images = binarize(images, stream(key, "binarize"), index)
        noise = latents(stream(key, "latent"), index, config.latent)
        return jax.value_and_grad(plain_loss, has_aux=True)(params, images, noise, config, 2)

    params = state.autoencoder.params
    (loss, (reconstruction, kl)), grads = plain(params, batch["image"])
    expected = jax.tree.map(lambda p, g: p - 0.01 * g, params, grads)
    close(new.autoencoder.params, expected, atol=1e-5)
    level = np.log(127.5) if config.likelihood == "gaussian" else 0
    figures = {
        "loss": loss,
        "elbo": -(reconstruction + kl),
        "kl": kl,
        "reconstruction": reconstruction,
        "bits_per_dim": ((reconstruction + kl) / 64 + level) / np.log(2),
        "gradient_norm": np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(grads))),
    }
    assert set(metrics) == {f"autoencoder/{name}" for name in figures}
    for name, value in figures.items():
        np.testing.assert_allclose(metrics[f"autoencoder/{name}"], value, rtol=1e-5)
    assert int(new.step) == 3


def test_warm_up_and_free_bits(small_vae, batch):
    warming = dataclasses.replace(small_vae, beta=2.0, beta_warmup=10)
    weights = [float(kl_weight(warming, jnp.int32(step))) for step in (0, 1, 5, 10, 100)]
    np.testing.assert_allclose(weights, [0, 0.2, 1, 2, 2], rtol=1e-6)
    assert kl_weight(small_vae, jnp.int32(0)) == 1

    # With more free nats than there are, the posterior is free of the prior.
    free = dataclasses.replace(small_vae, free_bits=1e3)
    algorithm, state = build(free)
    _, metrics = algorithm.step(state, batch)
    np.testing.assert_allclose(
        metrics["autoencoder/loss"], metrics["autoencoder/reconstruction"] + 3e3, rtol=1e-6
    )


def test_noise_and_pixels_are_fresh_in_every_step(small_vae, batch):
    still = SGD(learning_rate=1e-30)
    for config in (small_vae, dataclasses.replace(small_vae, likelihood="gaussian")):
        algorithm, state = build(dataclasses.replace(config, optimizer=still))
        step, values = algorithm.step, []
        for _ in range(3):
            state, metrics = step(state, batch)
            values.append(float(metrics["autoencoder/loss"]))
        assert len(set(values)) == 3


@pytest.mark.parametrize("samples", [1, 2, 37])
def test_importance_bounds_are_those_of_all_weights_at_once(samples):
    """With log weights as large and as far apart as those of big images."""
    weights = np.random.default_rng(0).normal(-20_000, 40, (samples, 5))
    log_weights = jnp.float32(weights)
    bounds = importance_bounds(lambda number: log_weights[number], samples, 5)
    weights = np.float64(log_weights)
    expected = special.logsumexp(weights, axis=0) - np.log(samples)
    np.testing.assert_allclose(bounds.iwae, expected, rtol=1e-6)
    np.testing.assert_allclose(bounds.elbo, weights.mean(axis=0), rtol=1e-6)
    if samples == 1:
        np.testing.assert_array_equal(bounds.iwae, bounds.elbo)


LINEAR_IMAGE = (2, 2, 2)
LINEAR_SCALE = 0.5


def linear_model(samples, width=1.0):
    """x = W z + c + noise with orthogonal columns in W, so that the posterior is known.

    Its standard deviation is multiplied by `width`. Returns the metrics of `evaluate` and log p(x).
    """
    rng = np.random.default_rng(3)
    columns, _ = np.linalg.qr(rng.normal(size=(8, 2)))
    w, c = columns * [0.9, 0.4], rng.normal(size=8) * 0.2
    x = rng.uniform(-1, 1, (16, 8))
    log_px = stats.multivariate_normal(c, w @ w.T + LINEAR_SCALE**2 * np.eye(8)).logpdf(x)

    variance = 1 / (1 + (w**2).sum(axis=0) / LINEAR_SCALE**2)
    slope = variance[:, None] * w.T / LINEAR_SCALE**2
    # relu(t) - relu(-t) = t, and 1.2 t with a leak of 0.2: networks of one hidden layer are linear.
    both = lambda n: np.concatenate([np.eye(n), -np.eye(n)], axis=1)  # noqa: E731
    to_mean = both(8).T @ slope.T / 1.2
    log_variance = np.log(variance * width**2)
    params = {
        "encoder": {
            "network": {"Dense_0": {"kernel": both(8), "bias": np.zeros(16)}},
            "moments": {
                "kernel": np.concatenate([to_mean, np.zeros((16, 2))], axis=1),
                "bias": np.concatenate([-slope @ c, log_variance]),
            },
        },
        "decoder": {
            "network": {
                "Dense_0": {"kernel": both(2), "bias": np.zeros(4)},
                "Dense_1": {"kernel": both(2).T @ w.T, "bias": c},
            }
        },
    }
    config = VAEConfig(
        encoder=MLP(width=16, depth=1, norm="none"),
        decoder=MLP(width=4, depth=1, norm="none"),
        likelihood="gaussian",
        scale=LINEAR_SCALE,
        latent=2,
        importance_samples=samples,
    )
    algorithm, state = build(config, image=LINEAR_IMAGE)
    params = jax.tree.map(jnp.float32, params)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, state.autoencoder.params)
    state = replace_player(state, params=params)
    batch = {"image": jnp.float32(x).reshape(16, *LINEAR_IMAGE)}
    metrics = algorithm.evaluate(state, batch, KEY)
    means = {name.split("/")[1]: float(value.mean()) for name, value in metrics.items()}
    return means, log_px.mean()


def test_the_exact_posterior_makes_both_bounds_the_likelihood():
    for samples in (1, 5):
        metrics, log_px = linear_model(samples)
        np.testing.assert_allclose(metrics["elbo"], log_px, rtol=1e-5)
        np.testing.assert_allclose(metrics["iwae"], log_px, rtol=1e-5)
        bits = (-log_px / 8 + np.log(127.5)) / np.log(2)
        np.testing.assert_allclose(metrics["bits_per_dim"], bits, rtol=1e-5)


def test_the_bound_grows_to_the_likelihood_with_its_samples():
    values = [linear_model(samples, width=1.6) for samples in (1, 8, 2000)]
    (one, log_px), (few, _), (many, _) = values
    # The divergence of the wider posterior from the true one, which the ELBO loses.
    gap = 2 * (1.6**2 - 1 - np.log(1.6**2)) / 2
    np.testing.assert_allclose(many["elbo"], log_px - gap, atol=0.02)
    assert one["iwae"] == one["elbo"]
    assert one["iwae"] < few["iwae"] < many["iwae"]
    np.testing.assert_allclose(many["iwae"], log_px, atol=0.02)


def test_evaluation_agrees_with_the_step(small_vae, batch):
    """The ELBO of one pass over the same images, up to its noise."""
    config = dataclasses.replace(small_vae, binarize=False, importance_samples=500)
    algorithm, state = build(config)
    values = algorithm.evaluate(state, batch, KEY)
    assert {value.shape for value in values.values()} == {(8,)}
    metrics = {name: value.mean() for name, value in values.items()}
    _, trained = algorithm.step(state, batch)
    np.testing.assert_allclose(metrics["evaluation/kl"], trained["autoencoder/kl"], rtol=1e-5)
    np.testing.assert_allclose(metrics["evaluation/elbo"], trained["autoencoder/elbo"], rtol=0.1)
    assert metrics["evaluation/iwae"] > metrics["evaluation/elbo"]
    bits = -metrics["evaluation/iwae"] / 64 / np.log(2)
    np.testing.assert_allclose(metrics["evaluation/bits_per_dim"], bits, rtol=1e-6)


def test_labels_reach_both_halves(small_vae, batch):
    config = dataclasses.replace(small_vae, conditional=True)
    algorithm, state = build(config)
    assert algorithm.spec.classes == 3
    assert build(small_vae)[0].spec.given == ()
    sample = algorithm.sample
    index = jnp.arange(6)
    by_index = sample(state, KEY, index, {"label": index % 3})
    others = sample(state, KEY, index, {"label": (index + 1) % 3})
    assert not any(map(np.array_equal, by_index, others))
    # The same z whatever the label: the images differ by less than those of two places.
    assert np.abs(by_index - others).mean() < np.abs(by_index - by_index[::-1]).mean()

    evaluate = algorithm.evaluate
    relabelled = {**batch, "label": (batch["label"] + 1) % 3}
    mine, other = evaluate(state, batch, KEY), evaluate(state, relabelled, KEY)
    for name in ("evaluation/kl", "evaluation/elbo"):
        assert not np.array_equal(mine[name], other[name])
    new, _ = algorithm.step(state, batch)
    before, after = state.autoencoder.params, new.autoencoder.params
    maps = [p["encoder"]["label_map"]["kernel"] for p in (before, after)]
    assert not np.array_equal(*maps)
    rows = [p["decoder"]["network"]["Dense_0"]["kernel"] for p in (before, after)]
    assert rows[0].shape == (3 + 3, 8)
    assert not np.array_equal(rows[0][3:], rows[1][3:])


def run(config, mode, count, raw_batch, steps=2):
    axis_name = mapped_axis(mode)
    algorithm = make_vae(config, image_spec(16, IMAGE, 3), axis_name)
    algorithm = with_stored(algorithm, IMAGES, ("flip",), axis_name)
    compiled = compile_step(algorithm, mode, jax.devices()[:count])
    state = compiled.init(KEY)
    for step in range(steps):
        labels = np.arange(16, dtype=np.int32) % 3
        state, metrics = step_once(compiled, state, {**raw_batch(step, 16), "label": labels})
    return jax.device_get((state.autoencoder, metrics))


@pytest.mark.full
def test_modes_agree(small_vae, raw_batch):
    """With batch norm, binarised pixels, labels, and free bits: one dimension has fewer over the
    whole batch and two have more, but not so on each device."""
    network = MLP(width=8, depth=1, norm="batch")
    config = dataclasses.replace(
        small_vae,
        encoder=network,
        decoder=network,
        conditional=True,
        free_bits=0.45,
        ema_decay=0.9,
    )
    reference = run(config, "jit", 1, raw_batch)
    for mode in ("mesh", "pmap"):
        other = run(config, mode, 8, raw_batch)
        for a, b in zip(jax.tree.leaves(reference), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * max(1, np.abs(a).max()))


def test_statistics_and_singular_vectors_move_with_the_step(small_vae, batch):
    dropping = Goodfellow(width=8)
    network = MLP(width=8, depth=1, norm="batch", spectral_norm=True)
    config = dataclasses.replace(small_vae, encoder=dropping, decoder=network, ema_decay=0.9)
    algorithm, state = build(config)
    new, _ = algorithm.step(state, batch)
    before, after = state.autoencoder, new.autoencoder
    assert not any(
        jax.tree.leaves(
            jax.tree.map(
                np.array_equal, before.variables["batch_stats"], after.variables["batch_stats"]
            )
        )
    )
    expected = jax.jit(power_iteration)(after.params, before.variables["spectral"])
    close(after.variables["spectral"], expected, atol=1e-6)
    wanted = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, before.ema["params"], after.params)
    close(after.ema["params"], wanted, atol=1e-6)

    # Samples come from the average, and one does not depend on the others.
    sample = algorithm.sample
    whole = sample(new, KEY, jnp.arange(6), {})
    close(whole[4:], sample(new, KEY, jnp.array([4, 5]), {}), atol=1e-6)
    average_alone = replace_player(new, params=None, variables=None)
    assert same(whole, sample(average_alone, KEY, jnp.arange(6), {}))


def test_what_is_shown_beside_samples(small_vae, batch):
    images = jnp.tile(batch["image"], (3, 1, 1, 1))
    labels = jnp.arange(24) % 3
    for changes, count in (({}, 1), ({"latent": 2}, 2), ({"latent": 2, "conditional": True}, 4)):
        algorithm, state = build(dataclasses.replace(small_vae, binarize=False, **changes))
        shown = algorithm.show(state, {"image": images, "label": labels}, KEY)
        panels = [shown.pop("reconstructions"), *shown.values()]
        assert [panel.shape for panel in panels] == [(32, *IMAGE), *[(256, *IMAGE)] * (count - 1)]
        np.testing.assert_array_equal(panels[0][::2], images[:16])
        assert len({np.asarray(panel).tobytes() for panel in panels}) == count
        assert all(np.abs(panel).max() <= 1 for panel in panels)
    np.testing.assert_allclose(
        stats.norm.cdf(manifold_grid(4)[:6]),
        [[0.125, p] for p in (0.125, 0.375, 0.625, 0.875)] + [[0.375, 0.125], [0.375, 0.375]],
        rtol=1e-5,
    )


def test_bfloat16_computes_with_float32_masters(small_vae, batch):
    config = dataclasses.replace(small_vae, dtype="bfloat16")
    algorithm, state = build(config)
    assert "bf16" in str(jax.make_jaxpr(algorithm.step)(state, batch))
    new, metrics = algorithm.step(state, batch)
    floats = [x for x in jax.tree.leaves((new.autoencoder, metrics)) if x.dtype != jnp.int32]
    assert {x.dtype for x in floats} == {jnp.dtype("float32")}
    _, exact = build(small_vae)[0].step(state, batch)
    for name in exact:
        np.testing.assert_allclose(metrics[name], exact[name], rtol=0.05)


def test_mistakes_name_the_value_and_the_choices(small_vae):
    for changes, classes, message in (
        ({"likelihood": "gausian"}, 3, "likelihood 'gausian'; did you mean 'gaussian'"),
        ({"conditional": True}, 0, "needs class labels"),
        ({"scale": 0.1}, 3, "scale is 0.1, but the likelihood 'bernoulli' has none"),
        ({"decoder": MLP(norm="virtual")}, 3, "norm 'virtual' is for a GAN's generator"),
        ({"encoder": MLP(norm="bach")}, 3, "unknown norm 'bach'; did you mean 'batch'"),
    ):
        spec = image_spec(8, IMAGE, classes)
        config = dataclasses.replace(small_vae, **changes)
        with pytest.raises(UserError, match=message):
            # Layers are made as they are first run.
            jax.eval_shape(lambda spec=spec, config=config: make_vae(config, spec).init(KEY))


@pytest.mark.parametrize("likelihood", ["bernoulli", "discretized_logistic"])
def test_likelihoods_of_bytes_are_for_images(small_vae, likelihood):
    for shape in ((2,), (64, 1)):
        config = dataclasses.replace(small_vae, likelihood=likelihood)
        with pytest.raises(UserError, match=f"{likelihood!r} is for images.* choices: gaussian"):
            make_vae(config, image_spec(8, shape))


def test_bits_are_counted_of_images_alone(small_vae):
    """Of points there is no smallest difference, and that of sounds is another."""
    config = dataclasses.replace(small_vae, likelihood="gaussian")
    for shape, counted in ((IMAGE, True), ((2,), False)):
        algorithm = make_vae(config, image_spec(8, shape))
        state = jax.eval_shape(algorithm.init, KEY)
        batch = {"image": jax.ShapeDtypeStruct((8, *shape), jnp.float32)}
        _, metrics = jax.eval_shape(algorithm.step, state, batch)
        found = jax.eval_shape(algorithm.evaluate, state, batch, KEY)
        assert ("autoencoder/bits_per_dim" in metrics) == counted
        assert ("evaluation/bits_per_dim" in found) == counted
