"""Weights of EDM's and DiT's official networks: imported, they say the same of noisy images."""

import functools
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import official_denoisers as official
import pytest
from in_process import contents, genjax, refusal
from official_networks import CLASSES
from safetensors.numpy import load_file, save_file

from genjax.config import (
    DiffusionConfig,
    DiT,
    GANConfig,
    MeanFlowConfig,
    UNet,
    VarianceExploding,
    VariancePreserving,
)
from genjax.errors import UserError
from genjax.nn.denoisers import make_denoiser
from genjax.official.architectures import ARCHITECTURES
from genjax.official.models import check_exportable
from genjax.official.roles import tables_of
from genjax.run.opening import open_run

CASES = {
    "ddpmpp": ("edm", functools.partial(official.edm, 0, False, told=9)),
    "ddpmpp without labels": ("edm", functools.partial(official.edm, 1, False, conditional=False)),
    "adm": ("edm", functools.partial(official.edm, 2, True, told=9, width=64)),
    "dit": ("dit", functools.partial(official.dit, 3)),
    "dit without variances": ("dit", functools.partial(official.dit, 4, sigma=False, patch=4)),
}
FLAGS = {"edm": ("--data", "digits"), "dit": ("--data", "digits", "--heads", 2)}
SAYS = {"edm": official.edm_says, "dit": official.dit_says}
LAST = "final_layer.linear"


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


@pytest.fixture
def imported(tmp_path):
    """Imports the network of a case; gives its architecture, the run, what was said."""

    def run(case, *more):
        name, make = CASES[case]
        file, out = tmp_path / "ema.safetensors", tmp_path / "run"
        save_file(make(), file)
        flags = ("--from", file, *FLAGS[name], *more, "--out", out)
        outcome = genjax("weights", "import", name, *flags)
        assert outcome.status == 0, outcome
        return name, out, outcome.out.replace("\n", " ")

    return run


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.full if case != "dit" else []) for case in CASES]
)
def test_they_say_what_the_official_networks_say(torch, imported, case, tmp_path):
    name, out, said = imported(case)
    run = open_run(out, "last")
    model = run.experiment.model
    path = VarianceExploding() if name == "edm" else VariancePreserving()
    assert (model.path, model.prediction) == (path, {"edm": "edm", "dit": "noise"}[name])
    assert run.averaged
    rng = np.random.default_rng(0)
    x = np.float32(rng.normal(size=(4, 8, 8, 1)))
    noise = np.float32(rng.normal(size=4) if name == "edm" else [0, 1.5, 250, 999])
    labels = np.array([0, 3, 9, CLASSES]) if model.conditional else None
    classes = CLASSES if model.conditional else 0
    network = make_denoiser(model.network, (8, 8, 1), classes, jnp.float32, None)
    changes = np.float32(rng.normal(size=(4, 9))) if model.augment else None
    given = x, False, noise, labels, changes
    ours = jax.jit(network.apply, static_argnums=2)(run.state.network.ema, *given)
    # In the order of the layers, which a file does not keep.
    tensors = CASES[case][1]()
    images = torch.tensor(x).permute(0, 3, 1, 2)
    given = (None if part is None else torch.tensor(part) for part in (noise, labels, changes))
    theirs = SAYS[name](torch, tensors, images, *given)
    theirs = theirs.permute(0, 2, 3, 1).numpy()
    assert theirs.std() > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())

    back = tmp_path / "back.safetensors"
    outcome = genjax("weights", "export", name, out, "--out", back)
    assert outcome.status == 0, outcome
    assert (model.augment > 0) == ("model.map_augment.weight" in tensors)
    if len(tensors.get(f"{LAST}.bias", ())) == 8:
        assert f"left out half of {LAST}" in said
        for part in ("weight", "bias"):
            # Of each pixel of a patch, the noise and then the variance.
            tensors[f"{LAST}.{part}"] = tensors[f"{LAST}.{part}"][::2]
    written = load_file(back)
    assert written.keys() == tensors.keys()
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(written[key], tensor, err_msg=key)


@pytest.mark.full
def test_what_is_told_of_augmentation_is_left_out_without_any(imported, tmp_path):
    name, out, said = imported("ddpmpp", "--preset", "diffusion-digits")
    assert "left out map_augment.weight" in said
    assert open_run(out, "last").experiment.model.augment == 0
    outcome = genjax("weights", "export", name, out, "--out", tmp_path / "back.safetensors")
    assert outcome.status == 0, outcome
    assert "model.map_augment.weight" not in load_file(tmp_path / "back.safetensors")


@pytest.mark.full
def test_they_sample_and_are_trained_further(imported, tmp_path):
    name, out, _ = imported("dit", "--preset", "diffusion-digits", "--step", 3)
    assert genjax("sample", out, "--n", 4, "--out", tmp_path / "grid.png").status == 0
    assert "began with imported weights" in refusal("rerun", out)
    outcome = genjax("resume", out, "--steps", 5)
    assert outcome.status == 0, outcome
    outcome = genjax("weights", "export", name, out, "--out", tmp_path / "back.safetensors")
    assert "the weights of step 5" in outcome.out
    initial = json.loads((out / "manifest.json").read_text())["sessions"][0]["initial"]
    assert initial["official"] == name
    assert initial["average"]["file"] == "ema.safetensors"


@pytest.mark.full
def test_a_dit_of_latents_is_one_of_a_run_s_autoencoder(tmp_path):
    vae, file, out = tmp_path / "vae", tmp_path / "ema.safetensors", tmp_path / "run"
    flags = ["--steps", 1, "--batch-size", 8, "--eval.samples", 4, "--mode", "jit"]
    for half in ("encoder", "decoder"):
        own = {"name": "kl", "width": 4, "blocks": 1, "channels": 4}
        flags += [w for field, value in own.items() for w in (f"--model.{half}.{field}", value)]
        flags += [f"--model.{half}.widths", 1, 2]
    outcome = genjax("train", "vae-digits", *flags, "--model.latent", 64, "--out", vae)
    assert outcome.status == 0, outcome
    save_file(official.dit(0, sigma=False, side=4, channels=4), file)
    command = ("weights", "import", "dit", "--from", file, "--heads", 2, "--autoencoder", vae)
    outcome = genjax(*command, "--out", out)
    assert outcome.status == 0, outcome
    assert "dit: 4x4x4" in outcome.out
    model = open_run(out, "last").experiment.model
    assert model.latent_scale == 0.18215
    assert model.autoencoder.startswith(f"{vae}@1#")
    outcome = genjax("sample", out, "--n", 2, "--steps", 2, "--npz", tmp_path / "a.npz")
    assert outcome.status == 0, outcome
    assert np.load(tmp_path / "a.npz")["images"].shape == (2, 8, 8, 1)
    back = tmp_path / "back.safetensors"
    assert genjax("weights", "export", "dit", out, "--out", back).status == 0
    tensors, written = load_file(file), load_file(back)
    assert written.keys() == tensors.keys()
    assert all(np.array_equal(written[name], tensors[name]) for name in tensors)
    save_file(official.dit(0, sigma=False, side=8, channels=4), file)
    assert "of shape (8, 8, 4), but latents of" in refusal(*command, "--out", tmp_path / "b")


def broken(tensors, change):
    """Tensors with one thing wrong."""
    match change:
        case "augment":
            tensors["model.map_augment.weight"] = np.zeros((8, 6), np.float32)
        case "missing":
            del tensors["model.dec.4x4_in0.qkv.weight"]
        case "ncsnpp":
            tensors["model.map_noise.freqs"] = np.zeros(4, np.float32)
        case "iddpm":
            tensors["u"] = np.zeros(4, np.float32)
        case "heads":
            tensors = official.edm(0, True)
        case "latents":
            tensors = official.dit(0, channels=4)
        case "positions":
            tensors = official.dit(0)
            tensors["pos_embed"] += 0.1
        case "wide positions":
            tensors = official.dit(0)
            tensors["pos_embed"] = np.zeros((1, 16, 9), np.float32)
        case "one class":
            tensors = official.dit(0)
            name = "y_embedder.embedding_table.weight"
            tensors[name] = tensors[name][:1]
        case "width":
            tensors = official.dit(0)
    return tensors


@pytest.mark.parametrize(
    ("name", "change", "said", "flags"),
    [
        ("edm", "augment", "has map_augment.weight of shape [8, 6], but in a network of", ()),
        ("edm", "missing", "it lacks dec.4x4_in0.qkv.weight; save the whole state_dict()", ()),
        ("edm", "ncsnpp", "is of NCSN++, by map_noise.freqs", ()),
        ("edm", "iddpm", "has no tensor map_layer0.weight; it has", ()),
        ("edm", "heads", "the official ADM has attention in heads of 64 channels", ()),
        ("edm", "none", "--heads is 2, which edm does not take", ("--heads", 2)),
        ("edm", "none", "is of family gan; name one of diffusion", ("--preset", "dcgan-digits")),
        ("edm", "none", "--generator is given, but edm is one network", ("--generator", "G")),
        ("dit", "none", "has no tensor x_embedder.proj.weight", ("--heads", 2)),
        ("dit", "latents", "is of maps of 4 channels, such as latents; give", ("--heads", 2)),
        ("dit", "latents", "no-run is not a folder", ("--heads", 2, "--autoencoder", "no-run")),
        ("biggan", "none", "--autoencoder is a, which biggan does not", ("--autoencoder", "a")),
        ("dit", "positions", "has another pos_embed than the official", ("--heads", 2)),
        ("dit", "wide positions", "of 9 numbers a patch, but x_embedder.proj makes 8", ()),
        ("dit", "one class", "embedding_table.weight of no class", ("--heads", 2)),
        ("dit", "width", "is of width 8, of which no dit is published", ()),
        ("dit", "width", "heads is 3", ("--heads", 3)),
        ("dit", "width", "--heads is 0", ("--heads", 0)),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path, name, change, said, flags):
    file = tmp_path / "ema.safetensors"
    save_file(broken(official.edm(0, False), change), file)
    before = contents(tmp_path)
    command = ("weights", "import", name, "--from", file, "--data", "digits", *flags)
    assert said in refusal(*command, "--out", tmp_path / "new" / "run")
    assert contents(tmp_path) == before


FAST = DiffusionConfig(network=DiT(), prediction="noise", path=VariancePreserving(fastest=10.0))


@pytest.mark.parametrize(
    ("name", "model", "said"),
    [
        ("edm", DiffusionConfig(prediction="v"), "has prediction v, and the official edm edm, to"),
        ("edm", DiffusionConfig(data_std=1.0), "has data_std 1.0, and the official edm 0.5"),
        ("edm", DiffusionConfig(network=DiT()), "is a dit, not that of edm; export what it is"),
        ("edm", GANConfig(), "is of family gan, not diffusion, and has no edm"),
        ("dit", MeanFlowConfig(network=DiT()), "is of family mean_flow, not diffusion"),
        ("dit", FAST, "path vp slowest 0.1 fastest 10, and the official dit vp slowest 0.1 fast"),
        ("biggan", DiffusionConfig(), "is of family diffusion, not a GAN, and has no biggan"),
    ],
)
def test_what_the_official_code_has_not_is_not_exported(name, model, said):
    with pytest.raises(UserError) as error:
        check_exportable(name, ARCHITECTURES[name], Path("runs/a"), model)
    assert said in str(error.value)
    assert "runs/a" in str(error.value)


@pytest.mark.parametrize(
    ("name", "network", "said"),
    [
        ("edm", UNet(variant="edm2"), "has DDPM++ and ADM, and this unet is of EDM2"),
        ("dit", DiT(), "the official DiT is always given labels"),
    ],
)
def test_networks_that_the_official_code_has_not_are_named(name, network, said):
    model = DiffusionConfig(network=network)
    with pytest.raises(UserError, match=re.escape(said)):
        tables_of(ARCHITECTURES[name], model, (8, 8, 1), False)


@pytest.mark.parametrize(
    "model",
    [DiffusionConfig(), DiffusionConfig(path=VariancePreserving())],
    ids=lambda model: model.path.name,
)
def test_the_prediction_edm_is_the_official_one_on_every_path(model):
    check_exportable("edm", ARCHITECTURES["edm"], Path("runs/a"), model)
