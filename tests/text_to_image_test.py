"""Text to image by the command line: prompts, guidance, and a text encoder of another run."""

import json

import numpy as np
import pytest
from in_process import genjax, refusal
from PIL import Image
from safetensors.numpy import load_file

import genjax as package
from genjax.config import DiffusionSampling
from genjax.data.sources import load_held_out
from genjax.run.directory import read_config
from genjax.run.opening import open_run

WORDS = ("red square", "blue square", "red circle", "blue circle")
SMALL = (
    *("--data.resolution", "None", "--batch-size", "8", "--steps", "2", "--eval.rank", "none"),
    *("--sample-every", "2", "--checkpoint-every", "2", "--log-every", "1"),
)
TINY = ("--model.network.name", "mlp", "--model.network.width", "16")
# Both networks of a GAN.
PAIR = tuple(
    word
    for player in ("generator", "discriminator")
    for word in (f"--model.{player}.name", "mlp", f"--model.{player}.width", "8")
)
READER = ("--model.text.width", "8", "--model.text.depth", "1", "--model.text.heads", "2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A set of small pictures with captions, beside folders for runs."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(40):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"{WORDS[number % 4]}\n{WORDS[number % 4][:4]}")
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
    return train(tmp_path_factory.mktemp("runs") / "run", "t2i-emoji", *data, *TINY, *READER)


def drawn(run, tmp_path, *flags):
    """The samples, their prompts, and what was said."""
    file = tmp_path / "drawn.npz"
    outcome = genjax("sample", run, "--npz", file, *flags)
    assert outcome.status == 0, outcome.err
    with np.load(file) as arrays:
        return arrays["images"], arrays["prompts"].tolist(), outcome.out


def test_prompts_are_taken_in_turn_or_one_a_row(run, tmp_path):
    images, prompts, _ = drawn(run, tmp_path, "--n", 3, "--prompt", "red square", "a")
    assert images.shape == (3, 8, 8, 3)
    assert prompts == ["red square", "a", "red square"]
    (tmp_path / "prompts.txt").write_bytes("\ufeffblue circle\r\n\r\n  a  \r\n".encode())
    more = ("--prompts", tmp_path / "prompts.txt", "--per-class", 2, "--out", tmp_path / "a.png")
    rows, prompts, said = drawn(run, tmp_path, "--prompt", "red square", *more)
    assert prompts == ["red square"] * 2 + ["blue circle"] * 2 + ["a"] * 2
    np.testing.assert_array_equal(rows[0], images[0])
    # Two columns, with a caption under each picture.
    assert Image.open(tmp_path / "a.png").size[0] == 2 * 114 + 2
    assert "warning" not in said
    _, prompts, _ = drawn(run, tmp_path, "--n", 2)
    assert set(prompts) <= set(WORDS)
    # None is dropped unsaid.
    (tmp_path / "many.txt").write_text("\n".join(f"red {number}" for number in range(65)))
    _, prompts, said = drawn(run, tmp_path, "--prompts", tmp_path / "many.txt")
    assert prompts[-1] == "red 64"
    assert "warning" not in said
    *_, said = drawn(run, tmp_path, "--n", 2, "--prompt", "red", "blue", "a")
    assert "warning: the first 2 are used of 3 prompts, one each of the samples" in said
    loaded = package.load(run)
    np.testing.assert_array_equal(loaded.sample(1, prompts=["red square"])[0], images[0])


def test_a_prompt_may_be_empty_too_long_or_of_another_script(run, tmp_path):
    texts = ("", "red square that never comes to an end", "赤い四角")
    images, prompts, said = drawn(run, tmp_path, "--n", 3, "--prompt", *texts)
    # What is read is cut within the last sign, of three bytes.
    assert prompts[:2] == ["", "red square "]
    assert prompts[2].startswith("赤い四")
    assert said.count("warning") == 2
    assert np.isfinite(images).all()


def test_what_is_refused(run, data, tmp_path):
    said = refusal("sample", run, "--prompts", tmp_path / "none.txt")
    assert "--prompts can't be read: [Errno 2] No such file" in said
    (tmp_path / "empty.txt").write_text("\n \n")
    assert "has no line with a prompt" in refusal(
        "sample", run, "--prompts", tmp_path / "empty.txt"
    )
    assert "guidance is 1, at which nothing guides" in refusal("sample", run, "--negative", "blue")


def test_given_images_are_edited_as_a_prompt_says(run, tmp_path):
    picture, file = tmp_path / "a.png", tmp_path / "edited.npz"
    Image.new("RGB", (8, 8), "red").save(picture)
    flags = ("edit", run, "--strength", 0.9, "--steps", 2, "--n", 1, "--out", tmp_path / "b.png")
    # Two steps of training leave little that depends on words.
    flags += ("--guidance", 100)

    def edited(*more):
        outcome = genjax(*flags, "--npz", file, *more)
        assert outcome.status == 0, outcome.err
        with np.load(file) as arrays:
            return arrays["images"], outcome.out

    assert "makes images of a caption; give --prompt" in refusal(*flags, "--image", picture)
    red, _ = edited("--image", picture, "--prompt", "red square")
    many, said = edited("--image", picture, picture, "--prompt", "red square", "blue" * 9)
    same, _ = edited("--image", picture, picture, "--prompt", "red square")
    np.testing.assert_array_equal(many[0], red[0])
    np.testing.assert_array_equal(same[0], red[0])
    assert not np.array_equal(many[1], same[1])
    assert said.count("warning") == 1
    ways = ("edit", run, "--invert", "--frames", 2, "--image", picture, picture)
    said = refusal(*ways, "--prompt", "red square", "blue square")
    assert "images of one caption; give --prompt" in said
    # Examples have captions, which a prompt takes the place of.
    own, _ = edited("--examples", 0)
    held_out = load_held_out(read_config(run).data)
    tokens = np.asarray(held_out.read(np.array([0]))["caption"])[0, 0]
    same, _ = edited("--examples", 0, "--prompt", bytes(tokens[tokens >= 0].tolist()).decode())
    np.testing.assert_array_equal(same, own)
    assert not np.array_equal(edited("--examples", 0, "--prompt", "")[0], own)


def test_each_way_between_latents_keeps_its_prompt(run, tmp_path):
    def ways(*prompts):
        flags = ("--rows", 2, "--frames", 1, "--steps", 2, "--guidance", 100)
        flags += ("--out", tmp_path / "way.png")
        assert genjax("interpolate", run, *flags, "--prompt", *prompts).status == 0
        return np.asarray(Image.open(tmp_path / "way.png"))

    one, two = ways("red square"), ways("red square", "")
    half = len(one) // 2
    np.testing.assert_array_equal(one[:half], two[:half])
    assert not np.array_equal(one[half:], two[half:])


@pytest.mark.full
def test_guidance_and_what_it_leads_away_from(run, tmp_path):
    flags = ("--n", 2, "--prompt", "red square", "--steps", 3)
    own, *_ = drawn(run, tmp_path, *flags)
    guided, *_ = drawn(run, tmp_path, *flags, "--guidance", 4)
    away, *_ = drawn(run, tmp_path, *flags, "--guidance", 4, "--negative", "blue circle")
    assert not np.array_equal(own, guided)
    assert not np.array_equal(away, guided)
    opened = open_run(run, "last", sampling=DiffusionSampling(negative="blue", guidance=2.0))
    assert opened.sampling["negative"] == "blue"
    assert "negative" not in open_run(run, "last").sampling


@pytest.fixture(scope="module")
def encoder(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "clip"
    small = ("--model.image.widths", "8", "--model.size", "8")
    return train(out, "clip-emoji", *data, *READER, *small)


@pytest.mark.full
@pytest.mark.parametrize(
    ("preset", "network", "player"),
    [("t2i-emoji", TINY, "network"), ("t2i-gan-emoji", PAIR, "generator")],
)
def test_a_text_encoder_of_another_run_stays_as_it_is(
    preset, network, player, encoder, data, tmp_path
):
    """It is named by its weights and lies in no checkpoint; resume is exact."""
    flags = (*data, *network, "--model.text-encoder", encoder)
    whole = train(tmp_path / "whole", preset, *flags, "--steps", "4")
    part = train(tmp_path / "part", preset, *flags)
    assert genjax("resume", part, "--steps", "4").status == 0
    ours, theirs = (load_file(folder / f"{player}.safetensors") for folder in (part, whole))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert not any("text" in name for name in ours)
    named = json.loads((whole / "config.json").read_text())["model"]["text_encoder"]
    assert named.startswith(f"{encoder}@2#")
    images, *_ = drawn(whole, tmp_path, "--n", 2, "--prompt", "red square", "")
    assert not np.array_equal(*images)
    more = ("--prompt", "red square", "blue", "--per-class", "2", "--out", tmp_path / "a.png")
    rows, prompts, _ = drawn(whole, tmp_path, *more)
    assert prompts == ["red square"] * 2 + ["blue"] * 2
    np.testing.assert_array_equal(rows[0], images[0])
    scored = ("--metrics", "clip_score", "--clip", encoder, "--samples", "16")
    assert genjax("evaluate", whole, *scored).status == 0
    assert genjax("interpolate", whole, "--frames", "2", "--out", tmp_path / "way.png").status == 0
    if preset == "t2i-gan-emoji":
        outcome = genjax("directions", whole, "--sample", "3", "--count", "2")
        assert outcome.status == 0, outcome.err


def test_a_gan_needs_someone_to_read_captions(data, tmp_path):
    said = refusal("train", "t2i-gan-emoji", *SMALL, *data, *PAIR, "--out", tmp_path / "run")
    assert "name it by --model.text-encoder RUN; genjax train clip-emoji" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.full
def test_a_text_encoder_of_other_tokens_is_refused(encoder, data, tmp_path):
    wrong = ("--data.name", "digits", "--data.given", "label", "--data.directory", "none")
    said = refusal("train", "t2i-emoji", *SMALL, *TINY, *wrong, "--model.text-encoder", encoder)
    assert "but data.given has no caption" in said
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("red")
    options = ("--tokenizer", "character", "--directory", tmp_path)
    assert genjax("data", "import", "other", "--from", folder, *options).status == 0
    other = ("--data.name", "other", "--data.directory", tmp_path)
    said = refusal("train", "t2i-emoji", *SMALL, *TINY, *other, "--model.text-encoder", encoder)
    assert "reads tokens of 'byte' with a vocabulary of its own" in said
