"""Averages by power functions: sums over all steps, kept with a run, and any made of those."""

import dataclasses
import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from in_process import genjax, refusal
from safetensors.numpy import load_file
from specs import image_spec

from genjax.config import MLP, SGD, VAEConfig, VAEGANConfig
from genjax.core.averages import coefficients, exponent, new_share
from genjax.core.players import make_player, move_profiles, players
from genjax.families.gan.algorithm import make_gan
from genjax.families.vae.algorithm import make_vae
from genjax.families.vae_gan import make_vae_gan
from genjax.run.directory import read_config, read_manifest

WIDTHS = (0.05, 0.1)
KEY = jax.random.key(0)


def weights_of(width, steps):
    """Karras et al. 2024, equation 4: the integral of ``s^gamma`` over each step, of sum 1."""
    s = np.arange(steps + 1) / steps
    return np.diff(s ** (exponent(width) + 1))


@pytest.mark.parametrize("width", [0.01, 0.05, 0.15, 0.28])
def test_the_width_is_the_relative_standard_deviation(width):
    steps = 200_000
    s, weights = (np.arange(steps) + 0.5) / steps, weights_of(width, steps)
    mean = np.sum(weights * s)
    np.testing.assert_allclose(np.sqrt(np.sum(weights * (s - mean) ** 2)), width, rtol=1e-4)


def test_the_share_of_late_steps_keeps_its_digits():
    for step in (1, 2, 1000, 10**6):
        found = float(new_share(0.1, jnp.int32(step)))
        exact = -np.expm1((exponent(0.1) + 1) * np.log1p(-1 / step)) if step > 1 else 1.0
        np.testing.assert_allclose(found, exact, rtol=1e-6)


def test_averages_are_sums_over_all_steps():
    steps = 60
    path = np.random.default_rng(0).normal(size=(steps + 1, 5)).astype(np.float32)
    first = {"params": path[0], "batch_stats": path[0], "spectral": path[0]}
    player = make_player(first, optax.sgd(0.1), False, len(WIDTHS))

    def step(player, given):
        number, params = given
        player = dataclasses.replace(
            player, params=params, variables={**player.variables, "batch_stats": 2 * params}
        )
        return move_profiles(player, WIDTHS, number), player.profiles

    numbers = jnp.arange(1, steps + 1)
    player, _ = jax.jit(lambda p: jax.lax.scan(step, p, (numbers, path[1:])))(player)
    for width, average in zip(WIDTHS, player.profiles, strict=True):
        expected = weights_of(width, steps) @ np.float64(path[1:])
        assert set(average) == {"params", "batch_stats"}
        np.testing.assert_allclose(average["params"], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(average["batch_stats"], 2 * expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("width", "bound"), [(0.03, 0.05), (0.07, 0.005), (0.1, 1e-9), (0.2, 0.05)]
)
def test_any_average_of_stored_ones(width, bound):
    """On white noise, the most irregular path there is, the error is the distance of profiles."""
    steps, every = 2000, 125
    path = np.random.default_rng(0).normal(size=(steps, 400))
    at = [step for step in range(every, steps + 1, every) for _ in WIDTHS]
    widths = list(WIDTHS) * (steps // every)
    stored = [weights_of(w, s) @ path[:s] for s, w in zip(at, widths, strict=True)]
    found, distance = coefficients(at, widths, steps, width)
    np.testing.assert_allclose(found.sum(), 1)
    wanted = weights_of(width, steps) @ path
    error = np.linalg.norm(found @ stored - wanted) / np.linalg.norm(wanted)
    assert error < bound
    np.testing.assert_allclose(error, distance, rtol=0.1, atol=1e-7)


NETWORK = MLP(width=4, depth=1, norm="batch")
FAST = SGD(learning_rate=0.3)
FAMILIES = {
    "gan": (make_gan, None),
    "vae": (make_vae, VAEConfig(encoder=NETWORK, decoder=NETWORK, optimizer=FAST, latent=2)),
    "vae_gan": (
        make_vae_gan,
        VAEGANConfig(
            encoder=NETWORK,
            generator=NETWORK,
            discriminator=NETWORK,
            latent=2,
            generator_optimizer=FAST,
        ),
    ),
}


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=() if name == "gan" else pytest.mark.full) for name in FAMILIES],
)
def test_families_keep_averages_of_what_makes_samples(family, small_gan):
    make, config = FAMILIES[family]
    if config is None:
        config = dataclasses.replace(
            small_gan, generator=NETWORK, discriminator=NETWORK, generator_optimizer=FAST
        )
    config = dataclasses.replace(config, ema_profiles=WIDTHS)
    algorithm = make(config, image_spec(8, (4, 4, 1)))
    step, state = jax.jit(algorithm.step), jax.jit(algorithm.init)(KEY)
    path = []
    for number in range(3):
        images = np.random.default_rng(number).uniform(-1, 1, (8, 4, 4, 1))
        state, _ = step(state, {"image": jnp.float32(images)})
        path.append(state)
    averaged = {name for name, own in players(state).items() if hasattr(own, "profiles")}
    [name] = averaged
    assert name == ("autoencoder" if family == "vae" else "generator")
    for width, average in zip(WIDTHS, getattr(state, name).profiles, strict=True):
        for collection in ("params", "batch_stats"):
            seen = [players(own)[name] for own in path]
            seen = [{"params": own.params, **own.variables}[collection] for own in seen]
            for found, *each in zip(
                *map(jax.tree.leaves, (average[collection], *seen)), strict=True
            ):
                expected = np.tensordot(weights_of(width, 3), np.float64(each), 1)
                np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


TINY = ["dcgan-digits", "--batch-size", 8, "--mode", "jit", "--eval.rank", "none"]
TINY += ["--checkpoint-every", 2, "--keep-checkpoints", 1, "--eval.every", 100]
for player in ("generator", "discriminator"):
    TINY += [f"--model.{player}.name", "mlp", f"--model.{player}.width", 4]
TINY += ["--model.discriminator.norm", "none", "--model.generator.spectral-norm", True]
KEEPING = [*TINY, "--model.ema-profiles", 0.1, 0.2]


def succeed(*words):
    outcome = genjax(*words)
    assert outcome.status == 0, outcome
    return outcome.out


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("averages") / "run"
    succeed("train", *KEEPING, "--steps", 6, "--out", folder)
    return folder


def stored(run):
    return {path.name: load_file(path) for path in (run / "averages").iterdir()}


def same(a, b):
    assert a.keys() == b.keys()
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name])


@pytest.mark.full
def test_averages_outlive_their_checkpoints_and_resuming(run, tmp_path):
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["6"]
    whole = stored(run)
    assert set(whole) == {"2.safetensors", "4.safetensors", "6.safetensors"}
    succeed("train", *KEEPING, "--steps", 4, "--out", tmp_path / "again")
    # As if it had been killed after it wrote these, and before their checkpoint.
    late = tmp_path / "again" / "averages" / "5.safetensors"
    shutil.copy(run / "averages" / "6.safetensors", late)
    succeed("resume", tmp_path / "again", "--steps", 6)
    again = stored(tmp_path / "again")
    assert set(again) == set(whole)
    for name, tensors in whole.items():
        same(tensors, again[name])


def test_a_run_of_another_average(run, tmp_path):
    """That of a width that is kept is what was kept; G's own weights and the data stay."""
    out = tmp_path / "out"
    assert "warning" not in succeed("average", run, "--width", 0.1, "--out", out)
    kept = load_file(run / "averages" / "6.safetensors")
    made, own = (load_file(path / "generator.safetensors") for path in (out, run))
    for name, value in own.items():
        np.testing.assert_array_equal(made[name], value)
        collection = name.split("/")[0]
        if collection != "spectral":
            found, wanted = made[f"ema/{name}"], kept[f"generator/0.1/{name}"]
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)
    # Singular vectors are those of the averaged weights.
    for name in [name for name in made if name.startswith("ema/spectral") and name.endswith("/u")]:
        layer = name.removeprefix("ema/spectral/").removesuffix("/vectors/u")
        kernel = made[f"ema/params/{layer}/kernel"]
        v = made[name.removesuffix("u") + "v"]
        largest = np.linalg.svd(kernel, compute_uv=False)[0]
        np.testing.assert_allclose(v @ kernel @ made[name], largest, rtol=0.02)
    model = read_config(out).model
    assert model.ema_profiles == ()
    np.testing.assert_allclose(model.ema_decay, (5 / 6) ** (exponent(0.1) + 1))
    manifest = read_manifest(out)
    noted = manifest["sessions"][-1]["average"]
    assert noted.pop("distance") < 1e-6
    assert noted == {"run": str(run), "step": 6, "width": 0.1}
    assert manifest["data"] == read_manifest(run)["data"]
    assert (out / "metrics.jsonl").read_text() == (run / "metrics.jsonl").read_text()
    drawn = {}
    for name, folder, flags in (
        ("run", run, []),
        ("average", out, []),
        ("plain", out, ["--average", False]),
    ):
        file = tmp_path / f"{name}.npz"
        succeed("sample", folder, "--n", 4, "--npz", file, *flags)
        drawn[name] = np.load(file)["images"]
    np.testing.assert_array_equal(drawn["run"], drawn["plain"])
    assert (drawn["run"] != drawn["average"]).any()
    said = refusal("rerun", out, "--out", tmp_path / "again")
    assert said.endswith(f"repeat the run that it is of, {run}")
    assert not (tmp_path / "again").exists()
    succeed("resume", out, "--steps", 8)
    assert json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 8


@pytest.mark.parametrize("width", [0.01, 0.28])
def test_a_distant_width_is_warned_of(run, tmp_path, width):
    """With the nearest one that is not: what is kept makes that one, and none beyond."""
    out = tmp_path / "out"
    said = succeed("average", run, "--width", width, "--out", out)
    assert f"warning: this is no average of width {width}: the nearest sum" in said
    far = read_manifest(out)["sessions"][-1]["average"]["distance"]
    assert f" {far:.0%} away" in said
    nearest = float(re.search(r"within 5% from --width ([\d.]+) on", said)[1])
    kept = [2, 2, 4, 4, 6, 6], [0.1, 0.2] * 3, 6
    apart = [coefficients(*kept, near)[1] for near in (nearest, (nearest + width) / 2)]
    assert apart[0] < 0.051 < apart[1] < far


@pytest.mark.full
def test_refusals(run, tmp_path):
    succeed("train", *TINY, "--steps", 1, "--out", tmp_path / "plain")
    assert "keeps no averages" in refusal("average", tmp_path / "plain", "--width", 0.1)
    for width in (0, 0.3, "nan"):
        assert "must be above 0 and at most 0.288" in refusal("average", run, "--width", width)
    taken = refusal("average", run, "--width", 0.1, "--out", tmp_path / "plain")
    assert "already exists" in taken
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "averages" / "4.safetensors").write_bytes(b"{}")
    assert "4.safetensors can't be read" in refusal("average", copy, "--width", 0.1)
    (copy / "averages" / "6.safetensors").unlink()
    assert "6.safetensors is missing" in refusal("average", copy, "--width", 0.1)
    assert not (tmp_path / "copy-width-0.1").exists()
    widths = "rising, above 0 and at most 0.288"
    assert widths in refusal("train", *TINY, "--model.ema-profiles", 0.2, 0.1)
