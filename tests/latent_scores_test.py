"""Perceptual path length and linear separability of runs that have a latent."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_process import genjax, refusal
from scipy.stats import entropy
from sklearn.datasets import make_blobs

from genjax.core.algorithm import Latent, plain_latent
from genjax.core.rng import example_keys, latents, stream
from genjax.evals.features import from_function
from genjax.evals.latents import Latents, codes_of
from genjax.evals.path_length import great_circle, path_lengths, trimmed_mean
from genjax.evals.records import read_records
from genjax.evals.separability import conditional_entropy, confident_half, separability
from genjax.run.evaluation import make_latents
from genjax.run.opening import open_run
from genjax.run.sampling import sample_run

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(6, 9)).astype(np.float32) / 20
LAYERS = 2
PIXELS = from_function(lambda x: x.reshape(len(x), -1) / 127.5, "pixels", traceable=True)
SMALL = ("--batch-size", 8, "--steps", 2, "--eval.samples", 4, "--mode", "jit")
STYLES = ("--model.generator.name", "stylegan2", "--model.generator.channel-max", 6)
STYLES += ("--model.generator.style", 5, "--model.generator.mapping", 1, "--model.latent", 6)
STYLES += ("--model.discriminator.width", 4)


def draw(key, index):
    return latents(key, index, 6)


def linear(code):
    """An image of 3 x 3 pixels, each a linear function of a code."""
    return (code @ MATRIX).reshape(-1, 3, 3, 1)


PLAIN = plain_latent(draw, lambda state, z, key, index, given: linear(z))
# Whose w is z, stretched along each axis by another factor.
STRETCH = np.float32([1, 2, 3, 0.5, 1, 1])
STYLED = Latent(
    draw,
    lambda state, z, key, index, given: jnp.repeat((z * STRETCH)[:, None], LAYERS, axis=1),
    lambda state, code, key, index, given: linear(code.mean(axis=1)),
    styled=True,
)


def ends(count):
    """The z at both ends of each way, and the shares, in float64."""
    key, index = stream(jax.random.key(5), "path length"), jnp.arange(count)
    two = [np.float64(draw(stream(key, "end", end), index)) for end in range(2)]
    shares = jax.vmap(jax.random.uniform)(example_keys(stream(key, "share"), index))
    return *two, np.float64(shares)[:, None]


def test_lengths_in_w_of_a_linear_generator_are_those_of_the_differences():
    for sampling in ("full", "end"):
        found = path_lengths(Latents(STYLED, None, {}), PIXELS, "w", sampling, 300, 5, 64)
        a, b, _ = ends(300)
        wanted = np.square(((b - a) * STRETCH) @ np.float64(MATRIX)).sum(1)
        np.testing.assert_allclose(found, wanted, rtol=0.02)
        np.testing.assert_allclose(found.mean(), wanted.mean(), rtol=1e-3)
    # In closed form, E |(w1 - w0) A|^2 = 2 |S A|^2.
    many = path_lengths(Latents(STYLED, None, {}), PIXELS, "w", "end", 20_000, 0, 5000)
    np.testing.assert_allclose(
        many.mean(), 2 * np.square(STRETCH[:, None] * MATRIX).sum(), rtol=0.03
    )


@pytest.mark.parametrize("latent", [PLAIN, STYLED], ids=["plain", "styled"])
@pytest.mark.parametrize("sampling", ["full", "end"])
def test_lengths_in_z_of_a_linear_generator_are_those_of_the_tangents(latent, sampling):
    found = path_lengths(Latents(latent, None, {}), PIXELS, "z", sampling, 300, 5, 64)
    a, b, share = ends(300)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    angle = np.arccos((a * b).sum(1, keepdims=True))
    share = share if sampling == "full" else 0 * share
    # Of (sin((1 - t) o) a + sin(t o) b) / sin o, by t.
    slope = angle * (np.cos(share * angle) * b - np.cos((1 - share) * angle) * a) / np.sin(angle)
    slope *= np.sqrt(6) * (STRETCH if latent is STYLED else 1)
    wanted = np.square(slope @ np.float64(MATRIX)).sum(1)
    np.testing.assert_allclose(found.mean(), wanted.mean(), rtol=2e-3)
    np.testing.assert_allclose(found, wanted, rtol=0.03)


def test_a_great_circle_leads_from_one_direction_to_the_other():
    a, b = jnp.array([[2.0, 0.0, 0.0]]), jnp.array([[0.0, 5.0, 0.0]])
    for share, wanted in ((0.0, [1, 0, 0]), (0.5, [0.5**0.5, 0.5**0.5, 0]), (1.0, [0, 1, 0])):
        found = great_circle(a, b, share)
        np.testing.assert_allclose(found, [np.sqrt(3) * np.array(wanted)], atol=1e-5)


def test_both_points_have_one_noise_and_one_condition():
    def decode(state, code, key, index, given):
        noise = jax.vmap(lambda k: jax.random.normal(k, (3, 3, 1)))(example_keys(key, index))
        return linear(code) + noise + given["label"].astype(jnp.float32)[:, None, None, None]

    noisy = PLAIN._replace(decode=decode)
    given = {"label": np.arange(100, dtype=np.int32) % 3}
    found = path_lengths(Latents(noisy, None, given), PIXELS, "z", "end", 100, 5, 64)
    wanted = path_lengths(Latents(PLAIN, None, {}), PIXELS, "z", "end", 100, 5, 64)
    np.testing.assert_allclose(found, wanted, rtol=0.2)


def test_the_longest_and_shortest_do_not_count():
    lengths = RNG.exponential(size=1000)
    ordered = np.sort(lengths)
    # Of 1000, the percentiles lie between places 9 and 10, and between 989 and 990.
    kept = ordered[9:991]
    found = trimmed_mean(RNG.permutation(lengths))
    np.testing.assert_allclose(found.value, kept.mean())
    np.testing.assert_allclose(found.standard_error, kept.std() / np.sqrt(len(kept)))


def test_entropy_against_scipy():
    truth, told = RNG.random(200) < 0.4, RNG.random(200) < 0.3
    wanted = sum(
        np.mean(told == side)
        * entropy([np.mean(truth[told == side]), np.mean(~truth[told == side])])
        for side in (False, True)
    )
    np.testing.assert_allclose(conditional_entropy(truth, told), wanted)
    assert conditional_entropy(truth, truth) == 0


def test_the_surest_half_on_either_side():
    # Odds of the second class, in order: -4, -3, -1, 2, 5.
    logits = np.array([[4.0, 0], [3, 0], [1, 0], [0, 2], [0, 5]])
    numbers, truth = confident_half(logits, 1)
    assert numbers.tolist() == [0, 1, 4]
    assert truth.tolist() == [False, False, True]
    # Of three, the rest is taken together: log(e^1 + e^1) is above 1.5.
    _, truth = confident_half(np.array([[1.0, 1.0, 1.5], [0, 0, 9.0]]), 2)
    assert truth.tolist() == [False, True]


def test_what_a_plane_tells_apart_scores_one():
    codes = RNG.normal(size=(600, 5)).astype(np.float32)
    value, entropies = separability(codes, np.stack([0 * codes[:, 0], 9 * codes[:, 1] + 2], 1))
    assert value == 1
    assert entropies == {1: 0}
    # Of four heaps, each lies on one side of a plane.
    centres = 9 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    codes, labels = make_blobs(400, centers=centres, random_state=0)
    logits = 5.0 * (labels[:, None] == np.arange(4))
    assert separability(codes, logits) == (1, dict.fromkeys(range(4), 0.0))


def test_what_no_plane_tells_apart():
    codes = RNG.normal(size=(4000, 2)).astype(np.float32)
    odds = np.where(codes[:, 0] * codes[:, 1] > 0, 3.0, -3.0)
    value, _ = separability(codes, np.stack([0 * odds, odds], 1))
    # exp(log 2), but for chance: nothing is known of either side.
    assert 1.9 < value <= 2
    three = np.stack([odds, -odds, np.full(4000, -99.0)], 1)
    value, entropies = separability(codes, three)
    assert set(entropies) == {0, 1}
    np.testing.assert_allclose(value, np.exp(sum(entropies.values())))


@pytest.fixture(scope="module")
def styled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("styled") / "run"
    assert genjax("train", "dcgan-digits", *SMALL, *STYLES, "--out", folder).status == 0
    return folder


@pytest.mark.full
def test_codes_are_those_of_the_samples(styled):
    run = open_run(styled, "last")
    own = make_latents(run, {}, None)
    codes = codes_of(own, 3, 5, 4)
    assert {space: x.shape for space, x in codes.items()} == {"z": (5, 6), "w": (5, 5)}
    styles = jnp.repeat(jnp.asarray(codes["w"])[:, None], 4, axis=1)
    made = own.latent.decode(run.state, styles, jax.random.key(3), jnp.arange(5), {})
    stored = sample_run(styled, 3, "last", 5).samples
    np.testing.assert_allclose(made, stored / 127.5 - 1, atol=0.01)


@pytest.mark.full
@pytest.mark.usefixtures("digits_classifier")
def test_scores_of_a_run(styled):
    flags = ("--metrics", "ppl,separability", "--samples", 200, "--batch", 100)
    outcome = genjax("evaluate", styled, *flags)
    assert outcome.status == 0, outcome
    records = {record["metric"]: record for record in read_records(styled)}
    lengths = [f"ppl_{space}_{sampling}" for space in "zw" for sampling in ("full", "end")]
    assert list(records) == [*lengths, "separability_z", "separability_w"]
    for name in lengths:
        record = records[name]
        assert np.isfinite(record["value"])
        assert 0 < record["spread"] < record["value"]
        assert record["features"]["name"] == "classifier-digits"
        assert record["parameters"]["epsilon"] == 1e-4
    for name in ("separability_z", "separability_w"):
        assert 1 <= records[name]["value"] <= 2**10
        assert records[name]["parameters"]["classifier"].startswith("classifier-digits ")


@pytest.mark.usefixtures("digits_classifier")
def test_where_they_do_not_apply(styled, tmp_path):
    images = ("--real", "digits", "--fake", "digits:test")
    for metric in ("ppl", "separability"):
        said = refusal("evaluate", *images, "--metrics", metric)
        assert f"{metric} needs a run that makes its samples from a latent, such as a GAN" in said
    folder = tmp_path / "run"
    flags = ("--model.generator.name", "mlp", "--model.generator.width", 4)
    flags += ("--model.discriminator.width", 4)
    assert genjax("train", "cgan-digits", *SMALL, *flags, "--out", folder).status == 0
    said = refusal("evaluate", folder, "--metrics", "separability", "--samples", 20)
    assert "separability needs an unconditional model, and this one is given label" in said


def test_lengths_are_of_float32_whatever_a_model_computes_in(styled):
    run = open_run(styled, "last")
    model = dataclasses.replace(run.experiment.model, dtype="bfloat16")
    half = run._replace(experiment=dataclasses.replace(run.experiment, model=model))
    found, wanted = (
        path_lengths(make_latents(own, {}, None), PIXELS, "w", "end", 8, 0, 8)
        for own in (half, run)
    )
    np.testing.assert_array_equal(found, wanted)
