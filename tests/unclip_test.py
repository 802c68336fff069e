"""DALL-E 2's parts by the command line: data with embeddings, a prior, a decoder, and both."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from in_process import genjax, refusal
from PIL import Image
from safetensors.numpy import load_file

import genjax as package
from genjax.commands.given import read_images
from genjax.config import DataConfig
from genjax.core.embeddings import embedded_by, embedding_facts, shown_embeddings
from genjax.core.schema import Spec
from genjax.data.digest import content_digest
from genjax.data.memory import in_memory
from genjax.data.sources import find_schema, load
from genjax.data.spoken import spoken_schema
from genjax.domains.captions import decode_caption
from genjax.errors import UserError
from genjax.evals.embedding_scores import find_images
from genjax.run import embedded
from genjax.run.cascade import Prior, PriorChoice
from genjax.run.conditions import conditions_in_turn
from genjax.run.embedded import open_embedding
from genjax.run.opening import open_run
from genjax.run.variations import open_space, way

WORDS = ("red square", "blue square", "red circle", "blue circle")
SMALL = (
    *("--batch-size", "8", "--steps", "2", "--eval.rank", "none"),
    *("--sample-every", "2", "--checkpoint-every", "2", "--log-every", "1"),
)
READER = ("--model.text.width", "8", "--model.text.depth", "1", "--model.text.heads", "2")
CLIP = ("--data.resolution", "8", "--model.image.widths", "8", "--model.size", "6")
DECODER = ("--data.resolution", "None", "--model.network.name", "mlp")
PRIOR = ("--model.network.depth", "1", "--model.network.heads", "2")
WIDTH = ("--model.network.width", "16")


def train(out, preset, *flags):
    outcome = genjax("train", preset, *SMALL, *flags, "--out", out)
    assert outcome.status == 0, outcome.err
    return out


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Small pictures with captions in the set `tiny`."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(40):
        pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"{WORDS[number % 4]}\n{WORDS[number % 4][:4]}")
    directory = tmp_path_factory.mktemp("sets")
    options = ("--tokenizer", "byte", "--directory", directory)
    outcome = genjax("data", "import", "tiny", "--from", folder, *options)
    assert outcome.status == 0, outcome.err
    return directory


@pytest.fixture(scope="module")
def clip(root, tmp_path_factory):
    data = ("--data.name", "tiny", "--data.directory", root)
    return train(tmp_path_factory.mktemp("runs") / "clip", "clip-emoji", *data, *READER, *CLIP)


@pytest.fixture(scope="module")
def data(root, clip):
    outcome = genjax(
        *("data", "embed", "seen", "--from", "tiny", "--by", clip),
        *("--directory", root, "--resolution", 8),
    )
    assert outcome.status == 0, outcome.err
    assert "each with an embedding of 6 numbers" in outcome.out
    return ("--data.name", "seen", "--data.directory", root)


@pytest.fixture(scope="module")
def decoder(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "decoder"
    return train(out, "unclip-emoji", *data, *DECODER, *WIDTH, *READER)


@pytest.fixture(scope="module")
def prior(data, tmp_path_factory):
    return train(
        tmp_path_factory.mktemp("runs") / "prior", "prior-emoji", *data, *PRIOR, *WIDTH, *READER
    )


def test_an_embedded_set_has_all_that_the_other_has(root, clip, data):
    config = DataConfig("seen", directory=str(root))
    for split in ("train", "test"):
        made = load(DataConfig("seen", split, directory=str(root)))
        was = load(DataConfig("tiny", split, 8, directory=str(root)))
        ours, theirs = (source.read(np.arange(was.count)) for source in (made, was))
        assert ours.keys() == {*theirs, "embedding"}
        for name, rows in theirs.items():
            np.testing.assert_array_equal(ours[name], rows)
        embedding, named = open_embedding(str(clip), "--by")
        np.testing.assert_array_equal(ours["embedding"], embedding.embed_images(theirs["image"]))
        np.testing.assert_allclose(np.linalg.norm(ours["embedding"], axis=1), 1, rtol=1e-5)
        assert made.digest() == content_digest(made)
    assert embedded_by(made.schema.facts) == named.name
    assert find_schema(config) == made.schema
    # What is shown are the embeddings of images with the prompts.
    shown, prompts = shown_embeddings(made.schema.facts, 6), made.schema.facts["prompts"]
    for row, text in zip(shown, prompts, strict=True):
        place = np.flatnonzero((ours["embedding"] == row).all(axis=1))[0]
        assert decode_caption(made.schema.facts, ours["caption"][place, 0]) == text


def test_embeddings_by_themselves_are_data(root, data):
    config = DataConfig("seen", directory=str(root), target="embedding")
    source = load(config)
    assert source.schema.domain == "vectors"
    assert list(source.schema.fields) == ["embedding", "caption"]
    assert source.read(np.arange(2)).keys() == {"embedding", "caption"}
    assert source.digest() == content_digest(source)
    assert find_schema(config) == source.schema


@pytest.mark.full
def test_images_without_captions_are_embedded(root, clip, tmp_path):
    rng = np.random.default_rng(3)
    np.savez(tmp_path / "a.npz", images=rng.integers(0, 256, (9, 12, 12, 3), np.uint8))
    own = ("--directory", root)
    assert genjax("data", "import", "plain", "--from", tmp_path / "a.npz", *own).status == 0
    outcome = genjax("data", "embed", "bare", "--from", "plain", "--by", clip, *own)
    assert outcome.status == 0, outcome.err
    schema = load(DataConfig("bare", directory=str(root))).schema
    assert list(schema.fields) == ["image", "embedding"]
    assert shown_embeddings(schema.facts, 6).shape == (9, 6)


@pytest.mark.parametrize(
    ("name", "source", "by", "words"),
    [
        ("seen", "tiny", "clip", "'seen' is already in"),
        ("No", "tiny", "clip", "data set name 'No' isn't usable"),
        ("more", "seen", "clip", "--from is seen, which has embeddings"),
        ("more", "digits", "clip", "images of 3 channels, and those of digits have 1"),
        ("more", "gaussians-8", "clip", "--from is gaussians-8, which holds points"),
        ("more", "tiny", "decoder", "is of family diffusion, which embeds no images"),
        ("more", "tiny", "/none", "--by is /none"),
    ],
)
def test_what_can_not_be_embedded(request, root, data, decoder, clip, name, source, by, words):
    run = by if by.startswith("/") else request.getfixturevalue(by)
    flags = ("--from", source, "--by", run, "--directory", root)
    assert words in refusal("data", "embed", name, *flags)


def test_what_else_lies_beside_images_can_not_be_stored(root, clip, monkeypatch):
    schema = spoken_schema()
    arrays = {name: np.zeros((2, *field.shape)) for name, field in schema.fields.items()}
    source = in_memory("x", "train", schema, arrays)
    monkeypatch.setattr(embedded, "load", lambda config, progress: source)
    with pytest.raises(UserError, match="--from is x, which has 'speech', and only images, labels"):
        embedded.embed_dataset("more", "x", str(clip), root)


def test_a_damaged_set_is_named(root, data, tmp_path):
    shown = embedding_facts("a@1#0", np.ones((2, 6)))
    assert shown_embeddings(shown, 5) is None
    for broken in ({}, {"embedding": 3}, {"embedding": {"shown": "?"}}, {"embedding": {}}):
        assert shown_embeddings(broken, 6) is None
    target = tmp_path / "seen" / "1.0.0"
    for file in (root / "seen" / "1.0.0").rglob("*"):
        if file.is_file():
            copy = target / file.relative_to(root / "seen" / "1.0.0")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    array = target / "train" / "embedding.npy"
    array.write_bytes(array.read_bytes()[:-4] + b"abcd")
    said = refusal("train", "prior-emoji", "--data.name", "seen", "--data.directory", tmp_path)
    assert "embedding.npy is damaged: its checksum is wrong" in said


def test_a_decoder_is_shown_of_held_out_embeddings(decoder, tmp_path):
    run = open_run(decoder, "last")
    condition = conditions_in_turn(run.algorithm.spec, 6)
    facts = run.schema.facts
    shown = shown_embeddings(facts, 6)
    np.testing.assert_array_equal(condition["embedding"], shown[np.arange(6) % len(shown)])
    assert genjax("sample", decoder, "--n", 2, "--out", tmp_path / "a.png").status == 0
    assert (decoder / "samples" / "step_00000002.png").is_file()
    without = run.algorithm.spec._replace(facts={**facts, "embedding": None})
    with pytest.raises(UserError, match="embeddings of images, of which the data name none"):
        conditions_in_turn(without, 2)


@pytest.mark.full
def test_a_prior_reads_by_the_tower_of_another_run_and_resumes(clip, data, tmp_path):
    flags = (*data, *PRIOR, *WIDTH, "--model.text-encoder", clip)
    whole = train(tmp_path / "whole", "prior-emoji", *flags, "--steps", "4")
    part = train(tmp_path / "part", "prior-emoji", *flags)
    assert genjax("resume", part, "--steps", "4").status == 0
    ours, theirs = (load_file(folder / "network.safetensors") for folder in (part, whole))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_a_prior_is_sampled(prior, tmp_path):
    said = refusal("sample", prior)
    assert "embeddings, which are nothing to look at; give --npz FILE" in said
    file = tmp_path / "a.npz"
    assert genjax("sample", prior, "--n", 2, "--npz", file, "--steps", 3).status == 0
    with np.load(file) as arrays:
        assert arrays["embeddings"].shape == (2, 6)
        np.testing.assert_allclose(np.linalg.norm(arrays["embeddings"], axis=1), 1, rtol=1e-5)


@pytest.mark.full
def test_a_prior_is_scored(prior, tmp_path):
    outcome = genjax(
        "evaluate", prior, "--samples", 12, "--steps", 3, "--out", tmp_path / "a.jsonl"
    )
    assert outcome.status == 0, outcome.err
    records = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    names = ["embedding_cosine", *(f"embedding_recall_{most}" for most in (1, 5, 10))]
    assert [record["metric"] for record in records] == names
    assert records[0]["labels"] == "captions of test"
    assert "captions of others" in records[0]["details"]


def test_images_of_samples_are_found_in_plain_numpy():
    rng = np.random.default_rng(1)
    # Of whole numbers, whose products are exact, some are equal.
    samples, images = (rng.integers(-3, 4, (count, 3)).astype(float) for count in (7, 9))
    images[4] = images[2]
    right = [rng.choice(9, 1 + n % 2, replace=False) for n in range(6)] + [np.array([2])]
    found = find_images(samples, images, right)
    for number, own in enumerate(right):
        alike = [float(np.dot(samples[number], image)) for image in images]
        best = max(alike[place] for place in own)
        before = [p for p in range(9) if p not in own and alike[p] >= best]
        assert found.cosines[number] == best
        assert found.ranks[number] == len(before)


def made(decoder, tmp_path, *flags):
    file = tmp_path / "made.npz"
    outcome = genjax("sample", decoder, "--npz", file, "--steps", 3, *flags)
    assert outcome.status == 0, outcome.err
    with np.load(file) as arrays:
        return arrays["images"]


def test_the_cascade_makes_images_of_prompts(decoder, prior, tmp_path):
    flags = ("--prior", prior, "--prompt", "red square", "blue circle")
    images = made(decoder, tmp_path, "--n", 3, *flags)
    np.testing.assert_array_equal(made(decoder, tmp_path, "--n", 1, *flags), images[:1])
    said = refusal("sample", decoder, "--prompt", "red square")
    assert "is given embeddings of images, too; name what makes them of prompts" in said
    said = refusal("sample", decoder, "--candidates", 3)
    assert "--candidates is of a prior; give --prior RUN" in said
    assert "makes no embeddings of captions" in refusal("sample", decoder, "--prior", decoder)


@pytest.mark.full
def test_a_script_draws_what_the_command_does(decoder, prior, tmp_path):
    flags = ("--prior", prior, "--prompt", "red square", "blue circle")
    loaded = package.load(decoder, steps=3)
    again = loaded.sample(2, prompts=["red square", "blue circle"], prior=prior)
    np.testing.assert_array_equal(again, made(decoder, tmp_path, "--n", 2, *flags))


@pytest.mark.full
def test_of_the_candidates_the_nearest_to_the_text_is_taken(clip, decoder, prior):
    run = open_run(decoder, "last")
    captions = conditions_in_turn(run.algorithm.spec, 5)["caption"]
    text = open_embedding(str(clip), "--by")[0].embed_tokens(captions[:, 0])
    alike = []
    for candidates in (1, 3):
        rows = Prior(PriorChoice(str(prior), candidates)).embed(run, captions, 0)
        alike.append((rows * text).sum(axis=1))
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert (alike[1] >= alike[0]).all()
    assert (alike[1] > alike[0]).any()


@pytest.mark.full
def test_scores_of_a_cascade_say_which_prior_it_has(clip, decoder, prior, tmp_path):
    flags = ("--samples", 12, "--steps", 2, "--metrics", "clip_score", "--clip", clip)
    for more in ((), ("--prior", prior, "--candidates", 1)):
        assert genjax("evaluate", decoder, *flags, *more, "--out", tmp_path / "a").status == 0
    records = [json.loads(line) for line in (tmp_path / "a").read_text().splitlines()]
    scores = [record for record in records if record["metric"] == "clip_score"]
    assert [record["labels"] for record in scores] == [
        "captions and embeddings of test",
        "captions of test",
    ]
    assert "prior" not in scores[0]["sampling"]
    assert scores[1]["sampling"]["prior"]["candidates"] == 1
    assert scores[1]["sampling"]["prior"]["run"].startswith("prior-emoji ")


@pytest.mark.full
def test_a_prior_of_another_embedding_is_refused(root, decoder, prior, tmp_path):
    data = ("--data.name", "tiny", "--data.directory", root, "--seed", "1")
    other = train(tmp_path / "clip", "clip-emoji", *data, *READER, *CLIP)
    flags = ("--from", "tiny", "--by", other, "--directory", root, "--resolution", 8)
    assert genjax("data", "embed", "others", *flags).status == 0
    data = ("--data.name", "others", "--data.directory", root)
    wrong = train(tmp_path / "prior", "prior-emoji", *data, *PRIOR, *WIDTH, *READER)
    said = refusal("sample", decoder, "--prior", wrong)
    assert "but the decoder learnt from those of" in said


@pytest.mark.full
def test_images_are_varied(decoder, tmp_path):
    rng = np.random.default_rng(2)
    names = [tmp_path / f"{number}.png" for number in range(2)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(name)

    def drawn(*flags):
        files = ("--out", tmp_path / "vary.png", "--npz", tmp_path / "vary.npz")
        outcome = genjax("vary", decoder, "--image", *flags, *files, "--steps", 3)
        assert outcome.status == 0, outcome.err
        with np.load(tmp_path / "vary.npz") as arrays:
            assert arrays["given"].shape[1:] == (8, 8, 3)
            return arrays["images"]

    own = drawn(*names, "--n", 2)
    assert own.shape == (2, 2, 8, 8, 3)
    np.testing.assert_array_equal(drawn(names[0], "--n", 1), own[:1, :1])
    between = drawn(*names, "--frames", 3)
    assert between.shape == (1, 3, 8, 8, 3)
    # A way begins where the first variation is.
    np.testing.assert_array_equal(between[0, 0], own[0, 0])
    words = ("--from-text", "red square", "--to-text", "blue circle", "--frames", 2, "--invert")
    assert drawn(names[0], *words).shape == (1, 2, 8, 8, 3)
    said = refusal("vary", decoder, "--image", names[0], "--from-text", "red square")
    assert "give both --from-text and --to-text" in said
    assert "there is one image; give two" in refusal(
        "vary", decoder, "--image", names[0], "--frames", 3
    )
    assert "which is of texts; leave it out" in refusal(
        "vary", decoder, "--image", names[0], "--theta", 0.2
    )
    said = refusal("vary", decoder, "--image", names[0], "--n", 2, "--frames", 3)
    assert "--n is 2, which is of variations" in said


def test_images_are_not_varied_by_a_decoder_that_always_had_captions_beside_embeddings(decoder):
    run = open_run(decoder, "last")
    model = dataclasses.replace(run.experiment.model, caption_dropout=None, label_dropout=0.1)
    experiment = dataclasses.replace(run.experiment, model=model)
    with pytest.raises(UserError, match="was never given an embedding without a caption"):
        open_space(run._replace(experiment=experiment))


def test_files_have_no_embedding():
    spec = Spec(1, {}, "image", ("embedding",))
    opened = SimpleNamespace(
        algorithm=SimpleNamespace(spec=spec), experiment=SimpleNamespace(name="x")
    )
    with pytest.raises(UserError, match="'x' makes images of an embedding, which files don't"):
        read_images(opened, (Path("a.png"),), (), None)


def test_ways_go_on_great_circles():
    a, b = np.eye(3, dtype=np.float32)[:1], np.eye(3, dtype=np.float32)[1:2]
    path = way(a, b, 3, 0.5)
    angles = np.array([0, 22.5, 45]) * np.pi / 180
    wanted = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    np.testing.assert_allclose(path[0], wanted, atol=1e-6)
