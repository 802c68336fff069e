"""Joint embeddings: their loss against PyTorch, on any number of devices, and runs of them."""

import dataclasses
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_process import genjax, refusal
from readers import READER, random_reader
from safetensors.numpy import load_file

from genjax.config import (
    SGD,
    ContrastiveConfig,
    DataConfig,
    Experiment,
    NoImages,
    ResNet,
    TextTransformer,
    ViT,
)
from genjax.core.frozen import with_frozen
from genjax.core.parallel import compile_step, mapped_axis, step_once
from genjax.core.schema import Field, Schema
from genjax.data.bundled import SOURCES, Bundled
from genjax.data.memory import in_memory
from genjax.domains import tokenizers
from genjax.errors import UserError
from genjax.evals.embedding import Embedding, clip_score
from genjax.evals.retrieval import chance, retrieval_ranks
from genjax.families.contrastive.algorithm import bounded
from genjax.families.contrastive.joint import make_joint
from genjax.families.contrastive.loss import contrast
from genjax.families.registry import make_algorithm, make_spec
from genjax.presets import PRESETS
from genjax.run.opening import open_run

NAMES = ("red", "green", "blue", "cyan", "pink", "lime")
LENGTH = 9
FACTS = {"class_names": list(NAMES), "tokenizer": "byte"}
SCHEMA = Schema(
    "image",
    {
        "image": Field((8, 8, 3), "uint8"),
        "label": Field((), "int32", len(NAMES)),
        "caption": Field((2, LENGTH), "int32", 256),
    },
    FACTS,
)
SMALL = ContrastiveConfig(
    text=TextTransformer(width=8, depth=1, heads=2, dropout=0.2),
    image=ResNet(widths=(8,)),
    size=8,
    shift=1,
    optimizer=SGD(learning_rate=1e-2),
)


def caption(text):
    row = np.full(LENGTH, -1, np.int32)
    tokens = tokenizers.encode(FACTS, text)
    row[: len(tokens)] = tokens
    return row


def pictures(count, seed):
    """Noisy images of one colour each, which one or two captions name."""
    rng = np.random.default_rng(seed)
    label = np.arange(count, dtype=np.int32) % len(NAMES)
    colours = np.random.default_rng(0).uniform(0, 255, (len(NAMES), 1, 1, 3))
    image = colours[label] + rng.normal(0, 10, (count, 8, 8, 3))
    captions = np.full((count, 2, LENGTH), -1, np.int32)
    for row, number in zip(captions, label, strict=True):
        row[0] = caption(NAMES[number])
        if number % 2:
            row[1] = caption(f"all {NAMES[number]}")
    return {
        "image": np.clip(image, 0, 255).astype(np.uint8),
        "label": label,
        "caption": captions,
    }


def load(config, progress):
    arrays = pictures(48, ["train", "test"].index(config.split))
    return in_memory("colours", config.split, SCHEMA, arrays)


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    splits = {"train": 48, "test": 48}
    monkeypatch.setitem(SOURCES, "colours", Bundled("here", splits, SCHEMA, load))


def experiment(model=SMALL, **fields):
    data = DataConfig("colours", given=("caption",))
    return Experiment("clip-colours", data, model, **{"batch_size": 16, **fields})


def embeddings(seed, count, size):
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(count, size))
    return np.float32(found / np.linalg.norm(found, axis=1, keepdims=True))


def test_the_loss_equals_pytorch():
    """Of pairs of which two have the same caption and one has none; and its gradients."""
    torch = pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")
    texts, images, scale = embeddings(0, 6, 5), embeddings(1, 6, 5), np.float32(7)
    tokens = np.array([[0, 1], [2, -1], [0, 1], [1, 0], [-1, -1], [2, 3]], np.int32)
    texts[2] = texts[0]

    def loss(arguments):
        return jnp.mean(contrast(*arguments[:2], jnp.asarray(tokens), arguments[2], None).losses)

    value, gradients = jax.jit(jax.value_and_grad(loss))((texts, images, scale))
    own = [torch.tensor(np.float64(x), requires_grad=True) for x in (texts, images, scale)]
    total = 0
    cross_entropy = torch.nn.functional.cross_entropy
    for row in (0, 1, 2, 3, 5):
        others = [
            other
            for other in (0, 1, 2, 3, 5)
            if other == row or not np.array_equal(tokens[other], tokens[row])
        ]
        target = torch.tensor(others.index(row))
        products = own[2] * torch.stack(
            [own[1][row] @ own[0][others].T, own[0][row] @ own[1][others].T]
        )
        total = total + cross_entropy(products, target.expand(2)) / 6
    total.backward()
    np.testing.assert_allclose(value, total.item(), rtol=1e-5)
    for ours, theirs in zip(gradients, own, strict=True):
        np.testing.assert_allclose(ours, theirs.grad, rtol=1e-4, atol=1e-6)


def test_hits_need_more_than_a_tie():
    same = jnp.full((3, 4), 0.5)
    tokens = jnp.arange(3)[:, None]
    found = contrast(same, same, tokens, jnp.float32(1), None)
    assert not np.asarray(found.hits).any()
    np.testing.assert_allclose(found.losses, np.log(3), rtol=1e-5)
    found = contrast(jnp.eye(3), jnp.eye(3), tokens, jnp.float32(9), None)
    assert np.asarray(found.hits).all()


def test_the_scale_ends_at_its_bound():
    rule = bounded("log_scale", 2.0)
    params = {"log_scale": jnp.float32(1.9), "other": jnp.float32(5)}
    for step, wanted in ((0.05, 0.05), (0.3, 0.1), (-0.3, -0.3)):
        updates = {"log_scale": jnp.float32(step), "other": jnp.float32(1)}
        found, _ = rule.update(updates, rule.init(params), params)
        np.testing.assert_allclose(found["log_scale"], wanted, rtol=1e-5)
        assert found["other"] == 1


@pytest.mark.parametrize(
    "mode", [pytest.param("pmap", marks=()), pytest.param("mesh", marks=pytest.mark.full)]
)
def test_devices_do_not_change_a_step(mode):
    """The loss is that of the whole batch, and so are its gradients, dropout and shifts."""
    found = {}
    batch = pictures(16, 5)
    # One without a caption, so that devices have unequal numbers of pairs.
    batch["caption"][3] = -1
    for own, count in (("jit", 1), (mode, 8)):
        algorithm = make_algorithm(experiment(), SCHEMA, mapped_axis(own))
        compiled = compile_step(algorithm, own, jax.devices()[:count])
        state = compiled.init(jax.random.key(0))
        state, _ = step_once(compiled, state, batch)
        state, metrics = step_once(compiled, state, batch)
        found[own] = jax.device_get((state.network.params, metrics))
    jax.tree.map(
        lambda one, many: np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-6),
        found["jit"],
        found[mode],
    )
    assert found[mode][1]["network/loss"] > 0.5


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that has learnt the names of colours."""
    out = tmp_path_factory.mktemp("runs") / "colours"
    patch = pytest.MonkeyPatch()
    splits = {"train": 48, "test": 48}
    patch.setitem(SOURCES, "colours", Bundled("here", splits, SCHEMA, load))
    patch.setitem(
        PRESETS,
        "clip-colours",
        experiment(dataclasses.replace(SMALL, optimizer=ContrastiveConfig().optimizer)),
    )
    flags = ("--steps", 150, "--mode", "jit", "--model.optimizer.learning-rate", 1e-2)
    every = ("--log-every", 50, "--checkpoint-every", 50, "--sample-every", 50)
    outcome = genjax("train", "clip-colours", "--out", out, *flags, *every, "--quiet")
    assert outcome.status == 0, outcome.err
    yield out
    patch.undo()


def test_a_run_is_ranked_by_its_loss_and_shows_nothing(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    held_out = [line for line in lines if "evaluation/loss" in line]
    assert [line["step"] for line in held_out] == [50, 100, 150]
    assert held_out[-1]["evaluation/loss"] < 0.1
    assert lines[-1]["evaluation/accuracy"] == 1
    assert not any((run / "samples").iterdir())
    assert open_run(run, "best").step in (50, 100, 150)


def test_retrieval_and_zero_shot(run):
    outcome = genjax("evaluate", run)
    assert outcome.status == 0, outcome
    records = [json.loads(line) for line in (run / "scores.jsonl").read_text().splitlines()]
    found = {record["metric"]: record for record in records}
    assert found["image_to_text_recall_1"]["value"] == 1
    assert found["text_to_image_recall_1"]["value"] == 1
    assert found["zero_shot"]["value"] == 1
    parameters = found["image_to_text_recall_1"]["parameters"]
    assert parameters["answers"] == len(NAMES)
    np.testing.assert_allclose(parameters["chance"], 1 / 6)
    np.testing.assert_allclose(found["zero_shot"]["parameters"]["chance"], 1 / 6)
    assert set(found) == {
        *(f"{way}_recall_{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)),
        "zero_shot",
    }
    assert "fid needs samples, of which a joint embedding makes none" in refusal(
        "evaluate", run, "--metrics", "fid"
    )


def test_the_space(run):
    opened = open_run(run, "last")
    own = Embedding(opened.experiment, opened.schema, opened.state)
    arrays = pictures(12, 7)
    images = own.embed_images(arrays["image"])
    texts = own.embed_texts([NAMES[label] for label in arrays["label"]])
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, rtol=1e-5)
    right, wrong = clip_score(images, texts), clip_score(images, np.roll(texts, 1, axis=0))
    assert right.min() > wrong.max()
    np.testing.assert_allclose(own.embed_images(arrays["image"][4:5])[0], images[4], rtol=1e-5)
    with pytest.raises(UserError, match="embeds images of 8x8x3, but these are 4x4x3"):
        own.embed_images(np.zeros((1, 4, 4, 3), np.uint8))


def test_a_text_encoder_of_another_run_reads_captions():
    """What it knows of whole texts, and a linear layer that learns; nothing else of texts does."""
    model = dataclasses.replace(SMALL, text_encoder="a run")
    networks = random_reader(make_spec(experiment(), SCHEMA))
    algorithm = make_algorithm(experiment(model), SCHEMA, networks=networks)
    state = with_frozen(algorithm.init(jax.random.key(0)), networks)
    assert set(state.network.params) == {
        *("image", "image_projection", "text_projection", "log_scale")
    }
    after, _ = jax.jit(algorithm.step)(state, pictures(16, 0))
    chex.assert_trees_all_equal(after.frozen, state.frozen)
    texts = Embedding(experiment(model), SCHEMA, after, networks).embed_texts(NAMES)
    tokens = jnp.asarray([caption(name) for name in NAMES])
    reader = make_joint(READER, networks["text_encoder"].spec)
    variables = state.frozen["text_encoder"]["network"]
    read = reader.apply(variables, tokens, False, method="encode_text").pooled
    learnt = after.network.params["text_projection"]["kernel"]
    assert np.abs(learnt - state.network.params["text_projection"]["kernel"]).max() > 1e-5
    wanted = np.float64(read) @ np.float64(learnt)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(texts, wanted, rtol=1e-4, atol=1e-6)


def test_a_run_whose_captions_another_one_reads(run, tmp_path):
    own, flags = tmp_path / "own", ("--mode", "jit", "--quiet", "--checkpoint-every", 60)
    reading = ("--model.text-encoder", run, "--model.optimizer.learning-rate", 1e-2)
    outcome = genjax("train", "clip-colours", "--out", own, *reading, *flags, "--steps", 60)
    assert outcome.status == 0, outcome.err
    assert not any(
        name.startswith("params/text/") for name in load_file(own / "network.safetensors")
    )
    assert genjax("evaluate", own, "--metrics", "retrieval").status == 0
    records = [json.loads(line) for line in (own / "scores.jsonl").read_text().splitlines()]
    found = {record["metric"]: record["value"] for record in records}
    assert found["text_to_image_recall_1"] == 1
    again = ("train", "clip-colours", "--out", tmp_path / "no", "--model.text-encoder")
    alone = refusal(*again, run, "--model.image.name", "none")
    assert f"text_encoder is {run} without an image tower" in alone
    deeper = refusal(*again, run, "--model.text.depth", 3)
    assert "text is transformer beside text_encoder, whose network reads captions" in deeper
    exported = refusal("weights", "export", "clip", own, "--out", tmp_path / "a.safetensors")
    assert f"reads texts by the network of another run; export that, {run}@150#" in exported
    said = refusal(*again, own)
    assert f"reads texts by the network of another one; name that, {run}@150#" in said


@pytest.mark.parametrize("command", ["sample", "interpolate"])
def test_there_are_no_samples(run, command):
    said = refusal(command, run)
    assert "makes no samples" in said or "does not make its samples from a latent" in said


def test_ranks_and_chance():
    """Against a sort of all answers, and draws of the first few."""
    images, texts = embeddings(3, 40, 6), embeddings(4, 15, 6)
    rng = np.random.default_rng(5)
    captions = np.concatenate([np.arange(15), rng.integers(0, 15, 25)])
    ranks = retrieval_ranks(images, texts, captions)
    for row, own in enumerate(captions):
        order = np.argsort(-(images[row] @ texts.T))
        assert ranks.image_to_text[row] == list(order).index(own)
    for own in range(15):
        order = np.argsort(-(texts[own] @ images.T))
        first = next(place for place, row in enumerate(order) if captions[row] == own)
        assert ranks.text_to_image[own] == first
    right = np.array([1, 3, 7])
    orders = np.stack([rng.permutation(10) for _ in range(20_000)])
    drawn = [np.mean((orders[:, :4] < count).any(axis=1)) for count in right]
    np.testing.assert_allclose(chance(right, 10, 4), np.mean(drawn), atol=0.01)
    same = np.ones((4, 2))
    assert (retrieval_ranks(same, same, np.arange(4)).image_to_text == 3).all()


@pytest.mark.parametrize(
    ("changes", "data", "message"),
    [
        ({}, {"given": ()}, "have no 'caption', or data.given leaves it out"),
        ({}, {"given": ("caption", "label")}, "'label', from which this model generates nothing"),
        ({"image": ViT(patch=3)}, {}, "a vit can't cut images of 8 pixels into patches of 3"),
        ({"image": NoImages()}, {}, None),
    ],
)
def test_what_does_not_fit_is_refused(changes, data, message):
    chosen = experiment(dataclasses.replace(SMALL, **changes))
    chosen = dataclasses.replace(chosen, data=dataclasses.replace(chosen.data, **data))
    if message is None:
        algorithm = make_algorithm(chosen, SCHEMA)
        state = jax.eval_shape(algorithm.init, jax.random.key(0))
        with pytest.raises(UserError, match="it has no image tower"):
            jax.eval_shape(algorithm.step, state, pictures(16, 0))
        return
    with pytest.raises(UserError, match=message):
        make_algorithm(chosen, SCHEMA)


@pytest.mark.full
def test_a_vit_learns():
    model = dataclasses.replace(SMALL, image=ViT(patch=4, width=8, depth=1, heads=2))
    algorithm = make_algorithm(experiment(model), SCHEMA)
    compiled = compile_step(algorithm, "jit", jax.devices()[:1])
    state, losses = compiled.init(jax.random.key(0)), []
    for _ in range(30):
        state, metrics = step_once(compiled, state, pictures(16, 0))
        losses.append(float(metrics["network/loss"]))
    assert losses[-1] < losses[0] - 0.1
