"""Images made from smaller ones by the command line: given pictures, examples, and cascades."""

import json

import numpy as np
import pytest
from in_process import genjax, refusal
from PIL import Image
from safetensors.numpy import load_file

import genjax as package
from genjax.data.sources import load_held_out
from genjax.evals.fidelity import psnr
from genjax.run.conditions import order_in
from genjax.run.directory import read_config

WORDS = ("red square", "blue square", "red circle", "blue circle")
SMALL = (
    *("--batch-size", "8", "--steps", "2", "--eval.rank", "none", "--eval.held-out", "4"),
    *("--sample-every", "2", "--checkpoint-every", "2", "--log-every", "1"),
    *("--model.network.name", "mlp", "--model.network.width", "16"),
    *("--model.text.width", "8", "--model.text.depth", "1", "--model.text.heads", "2"),
)
QUICK = ("--solver", "euler", "--steps", "2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A set of small pictures with captions, beside folders for runs."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(40):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(WORDS[number % 4])
    directory = tmp_path_factory.mktemp("sets")
    options = ("--tokenizer", "byte", "--directory", directory)
    outcome = genjax("data", "import", "tiny", "--from", folder, *options)
    assert outcome.status == 0, outcome.err
    return ("--data.name", "tiny", "--data.directory", str(directory))


def train(out, preset, *flags):
    outcome = genjax("train", preset, *SMALL, *flags, "--out", out)
    assert outcome.status == 0, outcome.err
    return out


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """Makes 8 pixels of 4, by captions too."""
    out = tmp_path_factory.mktemp("runs") / "larger"
    flags = ("--data.resolution", "8", "--data.given", "downsample", "caption")
    return train(out, "upsample-emoji", *data, *flags)


@pytest.fixture(scope="module")
def first(data, tmp_path_factory):
    """Makes 4 pixels of captions."""
    out = tmp_path_factory.mktemp("runs") / "first"
    return train(out, "t2i-emoji", *data, "--data.resolution", "4")


def drawn(run, tmp_path, *flags):
    """The arrays, and the picture where one is asked for."""
    file, picture = tmp_path / "drawn.npz", tmp_path / "drawn.png"
    outcome = genjax("sample", run, "--npz", file, "--out", picture, *QUICK, *flags)
    assert outcome.status == 0, outcome.err
    with np.load(file) as arrays:
        return dict(arrays), np.asarray(Image.open(picture))


def test_pictures_may_be_small_already_or_as_large_as_what_is_made(run, tmp_path):
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    for number in range(2):
        Image.fromarray(small[number]).save(tmp_path / f"small{number}.png")
        Image.fromarray(large[number]).save(tmp_path / f"large{number}.png")
    words = ("--prompt", "red square")
    own, picture = drawn(
        run, tmp_path, "--given", tmp_path / "small0.png", tmp_path / "small1.png", *words
    )
    assert own["images"].shape == (2, 8, 8, 3)
    assert own["prompts"].tolist() == ["red square"] * 2
    # Each stands behind the picture it is of, by its nearest neighbours; tiles are of 112 pixels.
    np.testing.assert_array_equal(own["given_downsample"], large)
    tiles = [picture[2:114:14, 2 + 114 * place : 114 * (place + 1) : 14] for place in range(4)]
    np.testing.assert_array_equal(tiles, np.stack([large, own["images"]], 1).reshape(4, 8, 8, 3))
    whole, _ = drawn(
        run, tmp_path, "--given", tmp_path / "large0.png", tmp_path / "large1.png", *words
    )
    assert np.abs(np.int16(whole["images"]) - own["images"]).max() <= 1
    loaded = package.load(run, solver="euler", steps=2)
    again = loaded.sample(2, prompts=["red square"], given=small)
    np.testing.assert_array_equal(again, own["images"])
    np.savez(tmp_path / "small.npz", images=small)
    more, picture = drawn(
        run, tmp_path, "--given", tmp_path / "small.npz", "--per-class", 3, *words
    )
    assert more["images"].shape == (6, 8, 8, 3)
    np.testing.assert_array_equal(more["images"][0], own["images"][0])
    assert picture.shape[1] == 4 * 114 + 2
    Image.fromarray(large[0][:6]).save(tmp_path / "odd.png")
    said = refusal("sample", run, "--given", tmp_path / "odd.png")
    assert (
        "odd.png has 8 x 6 pixels and 3 channels, but images are made from 'downsample' of" in said
    )
    assert "'downsample' of 4 x 4 pixels with 3 channels" in said
    both = (tmp_path / "small0.png", tmp_path / "large0.png")
    assert "give all of one of these sizes" in refusal("sample", run, "--given", *both)


def test_examples_come_with_their_captions(run, tmp_path):
    own, _ = drawn(run, tmp_path, "--examples", 0, 3, 1)
    assert own["images"].shape == (3, 8, 8, 3)
    assert set(own["prompts"]) <= set(WORDS)
    other, _ = drawn(run, tmp_path, "--examples", 0, 3, 1, "--condition-noise", 0.2)
    assert not np.array_equal(other["images"], own["images"])
    assert "--examples is 4; it must be at least 0, at most 3" in refusal(
        "sample", run, "--examples", 4
    )
    said = refusal("sample", run)
    assert "larger makes its samples of what must be given; give either --given FILE ... or" in said
    said = refusal("sample", run, "--examples", 0, "--condition-noise", 0.5)
    assert "condition_noise of samples is 0.5, but the model learnt with at most 0.2" in said


@pytest.mark.full
def test_what_is_no_next_stage_is_refused_before_the_first_is_drawn(first, run, tmp_path):
    # Of which there is no such checkpoint.
    nothing = ("--checkpoint", 7)
    said = refusal("sample", first, *nothing, "--then", first)
    assert "which makes nothing of images" in said
    assert "is not a run" in refusal("sample", first, *nothing, "--then", tmp_path)
    later = refusal("sample", first, *nothing, "--then", f"{run}@7")
    assert f"--then is {run}@7: " in later
    assert "no checkpoint of step 7" in later
    other = refusal("sample", first, *nothing, "--then", f"{run}#{16 * '0'}")
    assert "but the weights there are now those of" in other


@pytest.mark.full
def test_the_next_stage_of_a_cascade_takes_samples_and_their_captions(run, first, tmp_path):
    flags = ("--n", 2, "--prompt", "red square", "blue circle")
    small, _ = drawn(first, tmp_path, *flags)
    large, picture = drawn(first, tmp_path, *flags, "--then", run)
    assert large["images"].shape == (2, 8, 8, 3)
    assert large["prompts"].tolist() == ["red square", "blue circle"]
    np.testing.assert_array_equal(
        large["given_downsample"], small["images"].repeat(2, axis=1).repeat(2, axis=2)
    )
    assert picture.shape[1] == 4 * 114 + 2
    # As by two commands, whose second takes the usual steps.
    np.savez(tmp_path / "small.npz", images=small["images"])
    outcome = genjax(
        *("sample", run, "--given", tmp_path / "small.npz", *flags, "--npz", tmp_path / "two.npz")
    )
    assert outcome.status == 0, outcome.err
    with np.load(tmp_path / "two.npz") as arrays:
        np.testing.assert_array_equal(arrays["images"], large["images"])


@pytest.mark.full
def test_an_edited_image_says_what_the_model_is_given(run, tmp_path):
    flags = ("--examples", 0, 1, "--n", 1, *QUICK, "--out", tmp_path / "edit.png")
    found = {}
    for strength in (0, 0.5):
        file = tmp_path / f"{strength}.npz"
        outcome = genjax("edit", run, *flags, "--strength", strength, "--npz", file)
        assert outcome.status == 0, outcome.err
        with np.load(file) as arrays:
            found[strength] = arrays["images"][:, 0]
            true = arrays["given"]
    assert np.abs(np.int16(found[0]) - true).max() <= 1
    assert (found[0.5] != true).any((1, 2, 3)).all()


@pytest.mark.full
def test_scores_say_how_true_samples_are_beside_plain_enlargement(run, tmp_path):
    out = tmp_path / "scores.jsonl"
    flags = ("--metrics", "fidelity", "--samples", 6, "--out", out, *QUICK)
    outcome = genjax("evaluate", run, *flags)
    assert outcome.status == 0, outcome.err
    records = {line["metric"]: line for line in map(json.loads, out.read_text().splitlines())}
    assert set(records) == {"psnr", "ssim"}
    record = records["psnr"]
    assert record["labels"] == "downsample:2 and captions of test"
    assert record["parameters"]["pairs"] == 6
    config = read_config(run)
    held_out = load_held_out(config.data)
    rows = order_in(held_out, 6)
    true = held_out.read(rows)["image"]
    places, own = (np.arange(8) + 0.5) / 2 - 0.5, np.arange(4)
    plain = (true / 127.5 - 1).reshape(6, 4, 2, 4, 2, 3).mean((2, 4))
    for axis in (1, 2):
        plain = np.apply_along_axis(lambda row: np.interp(places, own, row), axis, plain)
    plain = np.uint8(np.round((plain + 1) * 127.5))
    assert record["details"]["bilinear"] == pytest.approx(psnr(plain, true).mean(), rel=1e-3)
    # Nothing that is enlarged is as true as what it was made of.
    assert records["ssim"]["details"]["bicubic"] > records["ssim"]["value"]


@pytest.mark.full
def test_resume_is_exact(data, tmp_path):
    flags = (*data, "--data.resolution", "8")
    whole = train(tmp_path / "whole", "upsample-emoji", *flags, "--steps", "4")
    part = train(tmp_path / "part", "upsample-emoji", *flags)
    assert genjax("resume", part, "--steps", "4").status == 0
    ours, theirs = (load_file(folder / "network.safetensors") for folder in (part, whole))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert (whole / "samples").is_dir()
