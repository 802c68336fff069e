"""Weights of official PyTorch networks: imported, they make the same images; exported, the same
tensors."""

import functools
import json
import pickle
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import official_networks as official
import pytest
from in_process import contents, genjax, refusal
from safetensors.numpy import load_file, save_file

from genjax.config import GANSampling
from genjax.core.rng import latents
from genjax.families.gan.composition import make_networks
from genjax.families.registry import make_spec
from genjax.run.opening import open_run
from genjax.run.sampling import condition_of

CASES = {
    "biggan": ("biggan", functools.partial(official.biggan, 0, True), 0),
    "biggan of plain labels": ("biggan", functools.partial(official.biggan, 2, False, False), 0),
    "biggan_deep": ("biggan_deep", functools.partial(official.biggan, 4, True, depth=2), 2),
    "r3gan": ("r3gan", functools.partial(official.r3gan, 6, True), 0),
    "r3gan without labels": ("r3gan", functools.partial(official.r3gan, 8, False), 0),
    "stylegan2": ("stylegan2", functools.partial(official.stylegan2, 10), 0),
}
MORE = ("biggan", "biggan of plain labels", "biggan_deep", "r3gan without labels", "stylegan2")
DIGITS = ("--data", "digits")
# Its groups of four images are those of the authors' code by default.
PRESETS = {"stylegan2": ("--preset", "stylegan2-fashion")}
PAGE = (Path(__file__).parents[1] / "docs" / "weights.md").read_text()


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


@pytest.fixture
def files(tmp_path):
    """Writes the networks of a case, and says its architecture and the files."""

    def write(case):
        name, make, _ = CASES[case]
        for file, tensors in zip(("G", "D"), make(), strict=True):
            save_file(tensors, tmp_path / f"{file}.safetensors")
        return name, tmp_path / "G.safetensors", tmp_path / "D.safetensors"

    return write


def logged(name):
    """Whether a tensor is a note that the official code never reads."""
    return name.endswith(".sv0")


def assert_same(ones, others):
    assert ones.keys() == others.keys()
    for name, one in ones.items():
        assert one.shape == others[name].shape, name
        if not logged(name):
            assert one.tobytes() == others[name].tobytes(), name


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.full if case in MORE else []) for case in CASES]
)
def test_images_and_logits_are_those_of_the_official_networks(torch, files, case, tmp_path):
    name, generator, discriminator = files(case)
    depth = CASES[case][2]
    family = name.removesuffix("_deep")
    out = tmp_path / "run"
    flags = ("--discriminator", discriminator, *DIGITS, *PRESETS.get(name, ()), "--out", out)
    outcome = genjax("weights", "import", name, "--from", generator, *flags)
    assert outcome.status == 0, outcome
    fixed = GANSampling(noise="const") if name == "stylegan2" else None
    run = open_run(out, "last", sampling=fixed)
    assert run.step == 0
    assert run.averaged
    key, index = jax.random.key(0), jnp.arange(12)
    given = {field: jnp.asarray(rows) for field, rows in condition_of(run, 12, None).items()}
    ours = np.asarray(run.algorithm.sample(run.state, key, index, given))
    z = torch.tensor(np.asarray(latents(key, index, run.experiment.model.latent)))
    labels = torch.tensor(np.asarray(given["label"])).long() if given else None
    make = getattr(official, f"{family}_images")
    theirs = make(torch, load_file(generator), z, labels, depth).permute(0, 2, 3, 1).numpy()
    assert theirs.std() > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-5)

    _, judge = make_networks(run.experiment.model, make_spec(run.experiment, run.schema), None)
    player = run.state.discriminator
    one_hot = jax.nn.one_hot(given["label"], official.CLASSES) if given else None
    images = np.random.default_rng(0).uniform(-1, 1, ours.shape).astype(np.float32)
    variables = {"params": player.params, **player.variables}
    ours = judge.apply(variables, jnp.asarray(images), False, one_hot).logits
    decide = getattr(official, f"{family}_logits")
    pictures = torch.tensor(images).permute(0, 3, 1, 2)
    theirs = decide(torch, load_file(discriminator), pictures, labels, depth).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)

    names = {"--out": generator, "--generator": generator, "--discriminator": discriminator}
    written = {flag: tmp_path / f"{flag[2:]}2.safetensors" for flag in names}
    words = [word for pair in written.items() for word in pair]
    assert genjax("weights", "export", name, out, *words).status == 0
    for flag, file in names.items():
        back = load_file(written[flag])
        assert_same(load_file(file), back)
        for vector in (name for name in back if name.endswith(".u0")):
            layer = vector.removesuffix(".u0")
            weight = back[f"{layer}.weight"]
            matrix = weight.reshape(len(weight), -1)
            v = back[vector] @ matrix
            v = np.linalg.norm(matrix @ v[0] / np.linalg.norm(v))
            np.testing.assert_allclose(back[f"{layer}.sv0"], v, rtol=1e-5, err_msg=layer)


@pytest.mark.full
def test_the_average_and_what_is_trained_are_two_files(files, tmp_path):
    name, average, _ = files("r3gan without labels")
    other = tmp_path / "other.safetensors"
    save_file(official.r3gan(20, False)[0], other)
    out, run = tmp_path / "G2.safetensors", tmp_path / "run"
    command = ("weights", "import", name, "--from", average, *DIGITS)
    outcome = genjax(*command, "--generator", other, "--out", run, "--step", 7)
    assert outcome.status == 0, outcome
    assert "discriminator: new" in outcome.out
    raw = tmp_path / "raw.safetensors"
    outcome = genjax("weights", "export", name, run, "--out", out, "--generator", raw)
    assert "the weights of step 7" in outcome.out
    assert " 7/" in genjax("runs", run).out
    assert_same(load_file(out), load_file(average))
    assert_same(load_file(raw), load_file(other))
    initial = json.loads((run / "manifest.json").read_text())["sessions"][0]["initial"]
    assert initial["official"] == "r3gan"
    assert initial["average"]["file"] == "G.safetensors"
    assert len(initial["generator"]["sha256"]) == 64
    assert "discriminator" not in initial
    # Without a file of its own, the average is trained further.
    assert genjax(*command, "--out", tmp_path / "alone").status == 0
    outcome = genjax(
        "weights", "export", name, tmp_path / "alone", "--out", out, "--generator", raw
    )
    assert outcome.status == 0, outcome
    assert_same(load_file(raw), load_file(average))


def test_names_may_lack_the_prefix_of_the_official_training(files, tmp_path):
    name, generator, _ = files("r3gan")
    tensors = load_file(generator)
    bare = {key.removeprefix("Model."): tensor for key, tensor in tensors.items()}
    save_file(bare, tmp_path / "bare.safetensors")
    command = ("weights", "import", name, *DIGITS, "--from", tmp_path / "bare.safetensors")
    assert genjax(*command, "--out", tmp_path / "run").status == 0
    out = tmp_path / "back.safetensors"
    assert genjax("weights", "export", name, tmp_path / "run", "--out", out).status == 0
    assert_same(load_file(out), tensors)
    # A folder that nobody can write into.
    away = Path("/proc/G.safetensors")
    assert str(away) in refusal("weights", "export", name, tmp_path / "run", "--out", away)


def test_a_folder_that_cannot_be_made(files, tmp_path):
    name, generator, _ = files("r3gan")
    before = contents(tmp_path)
    command = ("weights", "import", name, *DIGITS, "--from", generator)
    for out in (generator / "run", Path("/proc/models/run")):
        assert "; name another path" in refusal(*command, "--out", out)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("number", [0, 1])
def test_the_page_shows_how_files_are_turned(torch, tmp_path, monkeypatch, number):
    page = PAGE.partition("## Weights of official PyTorch code")[2]
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[number]
    monkeypatch.chdir(tmp_path)
    snapshot = {player: torch.nn.Linear(2, 3) for player in ("G_ema", "G", "D")}
    Path("network-snapshot.pkl").write_bytes(pickle.dumps(snapshot))
    for player, module in snapshot.items():
        torch.save(module.state_dict(), f"{player}.pth")
    exec(code, {})
    for player, module in snapshot.items():
        weight = load_file(f"{player}.safetensors")["weight"]
        np.testing.assert_array_equal(weight, module.weight.detach().numpy())


@pytest.mark.full
def test_it_is_trained_further_and_exported(torch, files, tmp_path):
    name, generator, discriminator = files("biggan of plain labels")
    run, out = tmp_path / "run", tmp_path / "G2.safetensors"
    command = ("weights", "import", name, "--from", generator, "--discriminator", discriminator)
    assert genjax(*command, *DIGITS, "--step", 3, "--out", run).status == 0
    assert "began with imported weights" in refusal("rerun", run)
    outcome = genjax("resume", run, "--steps", 5)
    assert outcome.status == 0, outcome
    outcome = genjax("weights", "export", name, run, "--out", out)
    assert outcome.status == 0, outcome
    assert "the weights of step 5" in outcome.out
    opened = open_run(run, "last")
    key, index = jax.random.key(0), jnp.arange(12)
    given = {field: jnp.asarray(rows) for field, rows in condition_of(opened, 12, None).items()}
    ours = np.asarray(opened.algorithm.sample(opened.state, key, index, given))
    z = torch.tensor(np.asarray(latents(key, index, opened.experiment.model.latent)))
    labels = torch.tensor(np.asarray(given["label"])).long()
    theirs = official.biggan_images(torch, load_file(out), z, labels).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert genjax("sample", run, "--n", 4, "--out", tmp_path / "grid.png").status == 0


@pytest.mark.full
def test_images_that_are_cut_out_of_larger_ones_are_told_of(tmp_path):
    run, out = tmp_path / "run", tmp_path / "G.safetensors"
    small = ("channel-max", 4), ("style", 4), ("mapping", 1)
    flags = [w for name, value in small for w in (f"--model.generator.{name}", value)]
    flags += ["--model.discriminator.channel-max", 4, "--batch-size", 4, "--steps", 1]
    flags += ["--data.name", "digits", "--data.resolution", 9, "--eval.samples", 4, "--mode", "jit"]
    assert genjax("train", "stylegan2-fashion", *flags, "--out", run).status == 0
    outcome = genjax("weights", "export", "stylegan2", run, "--out", out)
    assert outcome.status == 0, outcome
    said = f"the official stylegan2 makes 16 x 16 pixels, of which images of {run} are the 9 x 9"
    assert said in outcome.out.replace("\n", " ")


def broken(tensors, change):
    """Tensors with one thing wrong."""
    tensors = dict(tensors)
    match change:
        case "shape":
            tensors["blocks.1.0.conv2.bias"] = np.zeros(3, np.float32)
        case "missing":
            del tensors["blocks.1.0.bn1.stored_var"]
        case "unknown":
            tensors["linear.u1"] = tensors["linear.u0"]
        case "type":
            tensors["shared.weight"] = tensors["shared.weight"].astype(np.float16)
        case "axes":
            tensors["linear.weight"] = tensors["linear.weight"].ravel()
        case "classes":
            tensors["shared.weight"] = tensors["shared.weight"][:3]
        case "number":
            tensors["linear.bias"] = np.full_like(tensors["linear.bias"], np.nan)
        case "none":
            tensors = {"a": np.zeros(3, np.float32)}
    return tensors


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("shape", "has blocks.1.0.conv2.bias of shape [3], but in a generator of biggan for 8"),
        ("missing", "it lacks blocks.1.0.bn1.stored_var; save the whole state_dict()"),
        ("unknown", "it has linear.u1, which that has not"),
        ("type", "has shared.weight in F16, not in F32; save it as .float()"),
        ("axes", "has linear.weight of shape"),
        ("classes", "knows 3 classes, but digits has 10; name a data set"),
        ("number", "has linear.bias with numbers that are not finite"),
        ("none", "has no tensor blocks.0.0.conv1.weight; it has a: save the state_dict()"),
    ],
)
def test_other_tensors_are_refused(tmp_path, change, said):
    generator, _ = official.biggan(0, True)
    save_file(broken(generator, change), tmp_path / "G.safetensors")
    before = contents(tmp_path)
    command = ("weights", "import", "biggan", "--from", tmp_path / "G.safetensors", *DIGITS)
    assert said in refusal(*command, "--out", tmp_path / "new" / "run")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("file", ["G.pth", "network-snapshot.pkl", "G.safetensors"])
def test_pickles_are_not_opened(tmp_path, file):
    marker = tmp_path / "opened"

    class Opens:
        def __reduce__(self):
            return (marker.write_text, ("x",))

    path = tmp_path / file
    path.write_bytes(pickle.dumps(Opens()))
    command = ("weights", "import", "biggan", "--from", path, *DIGITS, "--out", tmp_path / "run")
    line = refusal(*command)
    assert f"{file} is a pickle" in line
    assert "docs/weights.md" in line
    assert not marker.exists()
    assert not (tmp_path / "run").exists()


def test_another_filter_is_refused(files, tmp_path):
    name, generator, _ = files("r3gan")
    tensors = load_file(generator)
    tensors["Model.MainLayers.1.Layers.0.Resampler.Kernel"] *= 2
    save_file(tensors, generator)
    line = refusal("weights", "import", name, "--from", generator, *DIGITS, "--out", tmp_path / "r")
    assert "another MainLayers.1.Layers.0.Resampler.Kernel than the official networks have" in line
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("import", "biggan", "--from", "{D}"), "has no tensor blocks.0.0.bn1.gain.weight"),
        (("import", "biggan_deep", "--from", "{G}"), "is of BigGAN; name biggan instead"),
        (("import", "bigan", "--from", "{G}"), "did you mean 'biggan'?"),
        (("import", "biggan", "--from", "{G}x"), "no file"),
        (("import", "biggan", "--from", "{G}"), "1 channels, but those of cifar10 have 3"),
        (("import", "biggan", "--from", "{G}", "--data", "gaussians-8"), "holds points"),
        (("import", "biggan", "--from", "{G}", "--preset", "vae-mnist"), "of family vae"),
        (
            ("import", "biggan", "--from", "{G}", "--preset", "dcgan-digits", "--generator", "{G}"),
            "keeps none; give --from alone",
        ),
        (
            ("import", "biggan", "--from", "{G}", "--discriminator", "{G}", "--data", "digits"),
            "has no tensor blocks.3.0.conv1.weight",
        ),
        (("import", "biggan", "--from", "{G}", "--step", "-1"), "--step is -1"),
        (("imprt", "biggan"), "did you mean 'import'?"),
        (("export", "biggan", "{run}"), "is not a folder; give the folder of a run"),
    ],
)
def test_mistakes_are_named(files, tmp_path, flags, said):
    _, generator, discriminator = files("biggan")
    named = {"G": generator, "D": discriminator, "run": tmp_path / "none"}
    words = [word.format(**named) for word in flags]
    before = contents(tmp_path)
    out = tmp_path / ("out.safetensors" if flags[0] == "export" else "out")
    assert said in refusal("weights", *words, "--out", out)
    assert contents(tmp_path) == before
