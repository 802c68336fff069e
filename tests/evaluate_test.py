"""Scores of runs, with their protocol, through the public interface."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from in_process import genjax, refusal
from PIL import Image
from rich.console import Console

from genjax import cli
from genjax.config import MLP, SGD, DataConfig, Experiment, GANConfig
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.evals import class_scores, comparison, metrics
from genjax.evals.classification import AccuracyScore
from genjax.evals.classifier import load_classifier
from genjax.evals.features import from_function
from genjax.evals.records import FILE, PROTOCOL, rank, read_records
from genjax.presets import preset
from genjax.run.conditions import conditions_as_in
from genjax.run.evaluation import Protocol, evaluate_images, evaluate_run, save_closest
from genjax.run.loop import train
from genjax.run.opening import open_run
from genjax.run.sampling import samples_of

pytestmark = pytest.mark.usefixtures("digits_classifier")

PROTOCOL_OF_TESTS = Protocol(load_classifier, samples=320)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A conditional autoencoder of digits after a few steps: every metric of images applies."""
    base = preset("vae-digits")
    network = MLP(width=32, depth=1, norm="none")
    model = dataclasses.replace(
        base.model,
        encoder=network,
        decoder=network,
        conditional=True,
        importance_samples=2,
        ema_decay=0.5,
    )
    experiment = dataclasses.replace(
        base, model=model, steps=40, checkpoint_every=20, sample_every=40, mode="jit"
    )
    directory = tmp_path_factory.mktemp("evaluate") / "run"
    train(experiment, directory, load(experiment.data), Console(quiet=True))
    return directory


def samples_like(run, source, count):
    """The samples that an evaluation draws, and their labels."""
    opened = open_run(run, "last")
    condition = conditions_as_in(opened.algorithm.spec, source, count)
    drawn = samples_of(opened, "run", condition, count, 0, 250).read(np.arange(count))
    return np.asarray(drawn["image"]), drawn["label"]


def values(evaluation):
    return {record["metric"]: record["value"] for record in evaluation.records}


@pytest.fixture(scope="module")
def usual(run, scoring_cache) -> dict[str, float]:
    """The usual scores of the run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENJAX_CACHE", str(scoring_cache))
        return values(evaluate_run(run, "last", PROTOCOL_OF_TESTS))


def test_usual_scores_of_a_run(usual):
    assert list(usual) == [
        "fid",
        "kid",
        "is",
        "precision",
        "recall",
        "density",
        "coverage",
        "class_fid",
        "gan_test",
        "ms_ssim",
        "modes",
        "mode_kl",
        "memorization",
        "elbo",
        "iwae",
        "bits_per_dim",
    ]
    assert all(np.isfinite(value) for value in usual.values())
    assert usual["fid"] > 1
    assert 1 <= usual["is"] <= 10
    assert usual["elbo"] <= usual["iwae"]


def test_metrics_say_which_scores_they_make(usual):
    """An ablation asks for scores by name before it has any."""
    assert all(metric.scores for metric in metrics.METRICS.values())
    declared = {name for metric in metrics.METRICS.values() for name in metric.scores}
    of_latents = {f"ppl_{space}_{where}" for space in "zw" for where in ("full", "end")}
    of_latents |= {"separability_z", "separability_w"}
    of_others = {"cas", "high_quality", "bits_per_token", "psnr", "ssim"}
    of_others |= {"log_likelihood", "bits_per_dim_bound"}
    of_embeddings = {*metrics.METRICS["retrieval"].scores, "zero_shot"}
    of_embeddings |= {"clip_score", "caption_accuracy"}
    of_embeddings |= {*metrics.METRICS["embedding_retrieval"].scores}
    assert declared == {*usual, *of_latents, *of_others, *of_embeddings}


def test_a_metric_that_needs_no_network_is_given_none(run, monkeypatch, tmp_path):
    """So no classifier has to be trained for it."""
    monkeypatch.setenv("GENJAX_CACHE", str(tmp_path))
    monkeypatch.setattr("genjax.evals.classifier.SHIPPED", tmp_path)
    protocol = PROTOCOL_OF_TESTS._replace(metrics=("likelihood", "ms_ssim"))
    assert set(values(evaluate_run(run, "last", protocol))) == {
        "ms_ssim",
        "elbo",
        "iwae",
        "bits_per_dim",
    }
    usual = evaluate_run(run, "last", PROTOCOL_OF_TESTS)
    assert values(usual).keys() == {"ms_ssim", "elbo", "iwae", "bits_per_dim"}
    why = "it needs a feature network, and no classifier of 'digits' yet; run: genjax evaluate "
    assert usual.left_out["fid"].startswith(why)
    with pytest.raises(UserError, match="no classifier of 'digits' yet"):
        evaluate_run(run, "last", PROTOCOL_OF_TESTS._replace(metrics=("fid",)))


NETWORK = from_function(lambda images: images.reshape(len(images), -1) / 255.0, "pixels", True)
"""64 features and no weights, so that nothing is kept."""


def test_scores_depend_on_neither_chunks_nor_devices(run, usual, monkeypatch):
    other = values(evaluate_run(run, "last", PROTOCOL_OF_TESTS._replace(chunk=93)))
    assert other == pytest.approx(usual, rel=1e-4)

    protocol = Protocol(lambda _: NETWORK, ("fid", "kid", "prdc", "ms_ssim"), samples=320)
    eight = values(evaluate_run(run, "last", protocol))
    first = jax.local_devices()[:1]
    monkeypatch.setattr(jax, "local_devices", lambda *args, **kwargs: first)
    assert values(evaluate_run(run, "last", protocol)) == pytest.approx(eight, rel=1e-4)


def test_a_record_carries_its_protocol(run, digits_classifier):
    result = evaluate_run(run, "best", PROTOCOL_OF_TESTS._replace(metrics=("fid", "ms_ssim")))
    fid, ms_ssim = result.records
    assert fid["features"] == {
        "name": "classifier-digits",
        "hash": digits_classifier.network.hash,
        "resize": "none",
    }
    assert ms_ssim["features"] is None
    assert fid["reference"]["data"] == "digits"
    assert fid["reference"]["split"] == "train"
    assert fid["reference"]["count"] == 1500
    assert (fid["samples"], fid["seed"], fid["checkpoint"]) == (320, 0, "best")
    assert fid["ema"] is True
    assert fid["truncation"] is None
    assert fid["labels"] == "shares of the reference"
    assert fid["step"] in (20, 40)
    assert json.loads(json.dumps(result.records)) == result.records
    assert {name.split(".")[0] for name in PROTOCOL} <= fid.keys()

    plain = evaluate_run(run, 20, PROTOCOL_OF_TESTS._replace(metrics=("fid",)), average=False)
    assert plain.records[0]["ema"] is False
    assert (plain.records[0]["step"], plain.records[0]["checkpoint"]) == (20, "step")
    assert plain.records[0]["value"] != fid["value"]


def test_labels_of_samples_have_the_shares_of_the_reference(run):
    """Digits are not all as frequent, and as many samples as images have just their numbers."""
    protocol = PROTOCOL_OF_TESTS._replace(metrics=("likelihood",), samples=1500)
    compared = evaluate_run(run, "last", protocol).compared
    shares = np.bincount(load(DataConfig("digits")).arrays["label"])
    assert len(set(shares)) > 1
    np.testing.assert_array_equal(np.bincount(compared.fake_labels), shares)


def test_seeds_of_one_protocol_can_be_ranked(run):
    """Nothing that is measured counts as protocol."""
    one = evaluate_run(run, "last", PROTOCOL_OF_TESTS)
    other = evaluate_run(run, "last", PROTOCOL_OF_TESTS._replace(seed=1))
    ranked = rank(one.records + other.records, [])
    assert all(len(group) == 2 for group in ranked.values())
    assert len({record["value"] for record in ranked["fid"]}) == 2


def test_few_samples_are_warned_of(run):
    few = PROTOCOL_OF_TESTS._replace(metrics=("fid",), samples=100)
    assert evaluate_run(run, "last", few).warnings == [
        "fid: 100 images can't fill a covariance of 128 dimensions"
    ]
    enough = few._replace(samples=200)
    assert evaluate_run(run, "last", enough).warnings == []


def test_the_reference_is_kept_and_a_damaged_file_made_again(run, scoring_cache, monkeypatch):
    protocol = PROTOCOL_OF_TESTS._replace(metrics=("fid",))
    before = values(evaluate_run(run, "last", protocol))
    files = list((scoring_cache / "reference").glob("*.safetensors"))
    assert files
    calls = []

    def counted(network, batches, chunk):
        calls.append(network.name)
        return extract(network, batches, chunk)

    extract = comparison.extract
    monkeypatch.setattr(comparison, "extract", counted)
    assert values(evaluate_run(run, "last", protocol)) == before
    assert len(calls) == 1, "only the samples"
    for file in files:
        file.write_bytes(file.read_bytes()[:1000])
    assert values(evaluate_run(run, "last", protocol)) == before
    assert len(calls) == 3


def test_images_from_elsewhere(run, tmp_path):
    """A folder, an .npz file and the run itself have the same scores."""
    names = ("fid", "kid", "is", "prdc", "modes", "memorization")
    protocol = PROTOCOL_OF_TESTS._replace(metrics=names)
    own = values(evaluate_run(run, "last", protocol))
    images, _ = samples_like(run, load(DataConfig("digits")), 320)
    (tmp_path / "pngs").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / "pngs" / f"{number:04d}.png")
    np.savez(tmp_path / "fake.npz", images=images)
    for fake in ("pngs", "fake.npz"):
        found = evaluate_images("digits", str(tmp_path / fake), protocol)
        assert values(found) == pytest.approx(own, rel=1e-4)
    save_closest(tmp_path / "closest.png", found.compared)
    picture = np.asarray(Image.open(tmp_path / "closest.png"))
    assert picture.ndim == 2
    assert picture.std() > 1


def test_features_that_are_not_finite_leave_the_others(run):
    broken = from_function(lambda images: np.full((len(images), 3), np.nan), "broken")
    protocol = PROTOCOL_OF_TESTS._replace(features=lambda _: broken)
    found = evaluate_run(run, "last", protocol)
    assert {"ms_ssim", "elbo"} <= values(found).keys()
    assert "hold a number that isn't finite" in found.left_out["prdc"]


def test_points_of_a_mixture(tmp_path):
    network = MLP(width=8, norm="none")
    sgd = SGD(learning_rate=0.01)
    model = GANConfig(
        generator=network,
        discriminator=network,
        generator_optimizer=sgd,
        discriminator_optimizer=sgd,
        latent=2,
    )
    experiment = Experiment("points", DataConfig("gaussians-8"), model, 2, 8, mode="jit")
    train(experiment, tmp_path / "run", load(experiment.data), Console(quiet=True))
    found = values(evaluate_run(tmp_path / "run", "last", PROTOCOL_OF_TESTS))
    assert set(found) == {"modes", "high_quality"}
    with pytest.raises(UserError, match="fid needs a feature network, and there is none"):
        evaluate_run(tmp_path / "run", "last", PROTOCOL_OF_TESTS._replace(metrics=("fid",)))
    elsewhere = evaluate_images("gaussians-8", "gaussians-8:test", PROTOCOL_OF_TESTS)
    assert values(elsewhere)["modes"] == 8


def test_a_classifier_learns_from_samples(run, digits_classifier, monkeypatch):
    """It is given the samples with the labels they were asked for, and real test images."""
    given = []

    def record(*arguments):
        given.extend(arguments)
        return AccuracyScore(0.5, 0.9)

    monkeypatch.setattr(class_scores, "classification_accuracy_score", record)
    result = evaluate_run(run, "last", PROTOCOL_OF_TESTS._replace(metrics=("cas",)))
    [cas] = result.records
    assert cas["metric"] == "cas"
    assert (cas["value"], cas["details"]) == (0.5, {"of real images": 0.9})
    images, labels, test_images, test_labels, trained, seed, _ = given
    (drawn, asked), test = (
        samples_like(run, load(DataConfig("digits")), 320),
        load(DataConfig("digits", "test")),
    )
    np.testing.assert_array_equal(images, drawn)
    np.testing.assert_array_equal(labels, asked)
    np.testing.assert_array_equal(test_images, test.arrays["image"])
    np.testing.assert_array_equal(test_labels, test.arrays["label"])
    assert trained.network.hash == digits_classifier.network.hash
    assert seed == 0


def command(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["genjax", *map(str, arguments)])
    cli.main()


def test_commands(run, monkeypatch, capsys):
    (run / FILE).unlink(missing_ok=True)
    command(monkeypatch, "evaluate", run, "--metrics", "fid,memorization", "--samples", "200")
    command(monkeypatch, "evaluate", run, "--metrics", "fid", "--samples", "200", "--seed", "1")
    printed = capsys.readouterr().out
    assert "classifier-digits" in printed
    assert "wrote 2 records" in printed
    assert (run / "closest.png").exists()
    assert [r["metric"] for r in read_records(run)] == ["fid", "memorization", "fid"]

    command(monkeypatch, "compare", run, "--metrics", "fid")
    printed = capsys.readouterr().out
    assert "fid (lower is better)" in printed
    assert "1. run" in printed
    assert "2. run" in printed

    command(monkeypatch, "evaluate", run, "--metrics", "fid", "--samples", "300")
    with pytest.raises(SystemExit) as stop:
        command(monkeypatch, "compare", run)
    assert stop.value.code == 2
    assert "their protocols differ: samples is 200 or 300" in capsys.readouterr().err
    command(monkeypatch, "compare", run, "--ignore", "samples", "--metrics", "fid")
    assert "3. run" in capsys.readouterr().out


def test_one_of_several_checkpoints_is_compared(run):
    (run / FILE).unlink(missing_ok=True)
    for which in ("last", "best"):
        flags = ("--metrics", "ms_ssim", "--samples", "20", "--checkpoint", which)
        assert genjax("evaluate", run, *flags).status == 0
    said = refusal("compare", run)
    assert 'checkpoint is "best" or "last"' in said
    assert "--checkpoint last takes one of each run" in said
    assert "1. run" in genjax("compare", run, "--checkpoint", "last").out
    assert "2. run" not in genjax("compare", run, "--checkpoint", "best").out
    step = read_records(run)[0]["step"]
    assert "--checkpoint is 1, and no run was scored there; there are: best (" in refusal(
        "compare", run, "--checkpoint", "1"
    )
    assert 'checkpoint is "best" or "last"' in refusal("compare", run, "--checkpoint", step)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give RUN_DIR, or both --real and --fake"),
        (["--real", "digits"], "give RUN_DIR, or both --real and --fake"),
        (["nowhere"], "nowhere is not a folder"),
        (["RUN", "--metrics", "fidd"], "did you mean 'fid'?"),
        (["RUN", "--metrics", "mixture"], "mixture needs points of a known mixture"),
        (["RUN", "--features", "vgg"], "choices: classifier, inception"),
        (["RUN", "--features", "inception"], "needs --weights"),
        (["RUN", "--samples", "1"], "--samples is 1; it must be at least 2"),
        (["RUN", "--checkpoint", "7"], "no checkpoint of step 7"),
        (["RUN", "--resolution", "9"], "--resolution is 9, but the data of"),
        (["RUN", "--directory", "elsewhere"], "--directory is elsewhere, but the data of"),
        (["--real", "digits", "--fake", "no/such.npz"], "no/such.npz doesn't exist"),
        (["--real", "digits", "--fake", "digits:tset"], "did you mean 'test'?"),
        (["--real", "digits", "--fake", "LARGE"], "of (9, 9, 1); give --resolution"),
        (["--real", "digits", "--fake", "digits", "--metrics", "likelihood"], "such as a VAE"),
        (
            ["--real", "digits", "--fake", "gaussians-8"],
            "digits holds image, but gaussians-8 points",
        ),
        (["--real", "gaussians-8", "--fake", "gaussians-8:test", "--metrics", "fid"], "none for"),
    ],
)
def test_mistakes_get_one_line_and_status_2(run, arguments, words, tmp_path, monkeypatch, capsys):
    np.savez(tmp_path / "large.npz", images=np.zeros((4, 9, 9, 1), np.uint8))
    named = {"RUN": str(run), "LARGE": str(tmp_path / "large.npz")}
    with pytest.raises(SystemExit) as stop:
        command(monkeypatch, "evaluate", *[named.get(a, a) for a in arguments])
    out, err = capsys.readouterr()
    assert stop.value.code == 2, err
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert words in err
