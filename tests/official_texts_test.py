"""MiniLM and CLIP's network of texts under Hugging Face's names, random weights and real."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_process import genjax, refusal
from official_networks import Weights
from safetensors.numpy import load_file, save_file

from genjax.core.frozen import Frozen
from genjax.core.schema import Field
from genjax.domains import tokenizers
from genjax.errors import UserError
from genjax.evals.embedding import Embedding
from genjax.families.contrastive.reading import text_encoder
from genjax.families.registry import make_spec
from genjax.run.opening import open_named, open_run

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "fruit", "##s", "apple", "car"]
TEXTS = ["a red apple", "fruits", "", "a a car car car red"]
REAL = os.environ.get("GENJAX_MINILM")
"""Folder of all-MiniLM-L6-v2's model.safetensors and vocab.txt."""


def bert(seed, width=12, depth=2, mlp=20, vocabulary=10, positions=9):
    made = Weights(seed)

    def norm(name):
        made.add(f"{name}.weight", width, least=0.5)
        made.add(f"{name}.bias", width)

    for name, rows in (("word", vocabulary), ("position", positions), ("token_type", 2)):
        made.add(f"embeddings.{name}_embeddings.weight", rows, width)
    norm("embeddings.LayerNorm")
    for number in range(depth):
        own = f"encoder.layer.{number}"
        for part in ("query", "key", "value"):
            made.layer(f"{own}.attention.self.{part}", width, width, spectral=False)
        made.layer(f"{own}.attention.output.dense", width, width, spectral=False)
        norm(f"{own}.attention.output.LayerNorm")
        made.layer(f"{own}.intermediate.dense", mlp, width, spectral=False)
        made.layer(f"{own}.output.dense", width, mlp, spectral=False)
        norm(f"{own}.output.LayerNorm")
    return made.tensors


def clip(seed, vocabulary, projection, width=12, depth=2, mlp=20, positions=9):
    made = Weights(seed)

    def norm(name):
        made.add(f"{name}.weight", width, least=0.5)
        made.add(f"{name}.bias", width)

    for name, rows in (("token", vocabulary), ("position", positions)):
        made.add(f"text_model.embeddings.{name}_embedding.weight", rows, width)
    for number in range(depth):
        own = f"text_model.encoder.layers.{number}"
        for part in ("q", "k", "v", "out"):
            made.layer(f"{own}.self_attn.{part}_proj", width, width, spectral=False)
        norm(f"{own}.layer_norm1")
        made.layer(f"{own}.mlp.fc1", mlp, width, spectral=False)
        made.layer(f"{own}.mlp.fc2", width, mlp, spectral=False)
        norm(f"{own}.layer_norm2")
    norm("text_model.final_layer_norm")
    if projection:
        made.layer("text_projection", projection, width, bias=False, spectral=False)
    return made.tensors


class Torch:
    """The networks in PyTorch, by Hugging Face's names, of one text of no padding."""

    def __init__(self, torch, tensors, heads):
        self.torch, self.f, self.heads = torch, torch.nn.functional, heads
        self.tensors = {name: torch.tensor(np.float64(x)) for name, x in tensors.items()}

    def linear(self, name, x):
        bias = self.tensors.get(f"{name}.bias")
        return self.f.linear(x, self.tensors[f"{name}.weight"], bias)

    def norm(self, name, x, epsilon):
        gain, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return self.f.layer_norm(x, x.shape[-1:], gain, bias, epsilon)

    def attention(self, names, x, causal):
        q, k, v = (
            self.linear(name, x).unflatten(-1, (self.heads, -1)).transpose(0, 1) for name in names
        )
        seen = self.f.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return seen.transpose(0, 1).flatten(1)

    def bert(self, tokens):
        rows = "embeddings.{}_embeddings.weight"
        x = self.tensors[rows.format("word")][tokens]
        x = x + self.tensors[rows.format("position")][: len(tokens)]
        x = self.norm("embeddings.LayerNorm", x + self.tensors[rows.format("token_type")][0], 1e-12)
        number = 0
        while f"encoder.layer.{number}.output.dense.weight" in self.tensors:
            own = f"encoder.layer.{number}"
            names = [f"{own}.attention.self.{part}" for part in ("query", "key", "value")]
            seen = self.linear(f"{own}.attention.output.dense", self.attention(names, x, False))
            x = self.norm(f"{own}.attention.output.LayerNorm", x + seen, 1e-12)
            y = self.f.gelu(self.linear(f"{own}.intermediate.dense", x))
            x = self.norm(
                f"{own}.output.LayerNorm", x + self.linear(f"{own}.output.dense", y), 1e-12
            )
            number += 1
        return x, self.f.normalize(x.mean(0), dim=0)

    def clip(self, tokens):
        inner = "text_model.embeddings"
        x = self.tensors[f"{inner}.token_embedding.weight"][tokens]
        x = x + self.tensors[f"{inner}.position_embedding.weight"][: len(tokens)]
        number = 0
        while f"text_model.encoder.layers.{number}.mlp.fc1.weight" in self.tensors:
            own = f"text_model.encoder.layers.{number}"
            names = [f"{own}.self_attn.{part}_proj" for part in ("q", "k", "v")]
            seen = self.attention(names, self.norm(f"{own}.layer_norm1", x, 1e-5), True)
            x = x + self.linear(f"{own}.self_attn.out_proj", seen)
            y = self.linear(f"{own}.mlp.fc1", self.norm(f"{own}.layer_norm2", x, 1e-5))
            x = x + self.linear(f"{own}.mlp.fc2", y * self.torch.sigmoid(1.702 * y))
            number += 1
        x = self.norm("text_model.final_layer_norm", x, 1e-5)
        pooled = x[-1]
        if "text_projection.weight" in self.tensors:
            pooled = self.linear("text_projection", pooled)
        return x, pooled


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


def write_vocabulary(folder):
    file = folder / "vocab.txt"
    file.write_text("\n".join(VOCABULARY) + "\n")
    return file


def encoded(out, tokens):
    """What another run finds in a run of texts."""
    named = open_named(str(out), "text_encoder")
    spec = make_spec(named.run.experiment, named.run.schema)
    frozen = Frozen(named.run.experiment.model, spec, named.variables)
    encoder = text_encoder(frozen, spec, "texts")
    others = spec._replace(facts={"tokenizer": "byte"})
    with pytest.raises(UserError, match=r"texts reads tokens of .* with a vocabulary of its own"):
        text_encoder(frozen, others, "texts")
    long = {**spec.fields, "tokens": Field((99,), "int32", spec.fields["tokens"].levels)}
    with pytest.raises(UserError, match=r"reads texts of up to 9 tokens, but .* up to 99"):
        text_encoder(frozen, spec._replace(fields=long), "texts")
    rows = np.full((len(tokens), encoder.field.shape[-1]), -1, np.int32)
    for row, text in zip(rows, tokens, strict=True):
        row[: len(text)] = text
    found = jax.jit(encoder.encode)(named.variables, jnp.asarray(rows))
    assert found.tokens.shape[-1] == encoder.width
    assert found.pooled.shape[-1] == encoder.pooled
    return found


def check(found, theirs, tokens):
    for row, text in enumerate(tokens):
        known, pooled = theirs(text)
        for ours, other in ((found.tokens[row, : len(text)], known), (found.pooled[row], pooled)):
            np.testing.assert_allclose(ours, other.detach(), rtol=1e-4, atol=1e-4)


def test_minilm_is_the_official_one(torch, tmp_path):
    tensors = bert(0)
    beside = {
        "pooler.dense.weight": np.zeros((12, 12), np.float32),
        "embeddings.position_ids": np.arange(9)[None],
    }
    file, out = tmp_path / "model.safetensors", tmp_path / "run"
    named = {f"bert.{name}": x for name, x in (tensors | beside).items()}
    save_file(named | {"cls.predictions.bias": np.zeros(10, np.float32)}, file)
    words = ("--vocabulary", write_vocabulary(tmp_path), "--heads", 3)
    outcome = genjax("weights", "import", "minilm", "--from", file, *words, "--out", out)
    assert outcome.status == 0, outcome
    assert "10 tokens, texts of up to 9, 12 numbers a token" in outcome.out
    assert "left out bert.pooler.dense.weight, cls.predictions.bias" in outcome.out
    tokens = [[2, 4, 5, 8, 3], [2, 6, 7, 3], [2, 1, 3]]
    official = Torch(torch, tensors, 3)
    check(encoded(out, tokens), official.bert, tokens)

    run = open_run(out, "last")
    embedding = Embedding(run.experiment, run.schema, run.state)
    found = embedding.embed_texts(TEXTS)
    assert found.shape == (4, 12)
    assert not found[2].any()
    np.testing.assert_allclose(found[0], official.bert(tokens[0])[1], rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="'minilm' is a network of texts alone"):
        embedding.embed_images(np.zeros((1, 8, 8, 3), np.uint8))

    back = tmp_path / "back.safetensors"
    assert genjax("weights", "export", "minilm", out, "--out", back).status == 0
    written = load_file(back)
    assert written.keys() == tensors.keys()
    assert all(np.array_equal(written[name], tensors[name]) for name in tensors)

    for command in ("resume", "rerun"):
        assert "minilm can't be trained: it has no image tower" in refusal(command, out)
    assert "is of family contrastive, which makes no samples" in refusal("sample", out)
    assert "is a bert, not that of clip" in refusal("weights", "export", "clip", out, "--out", back)


@pytest.mark.parametrize("projection", [5, pytest.param(None, marks=pytest.mark.full)])
def test_clip_is_the_official_one(torch, projection, tmp_path):
    pytest.importorskip("tokenizers", reason="needs the extra genjax-models[text]")
    facts = tokenizers.fit("bpe", "a red apple and a red car", 260)
    definition = tmp_path / "tokenizer.json"
    definition.write_text(facts["definition"])
    tensors = clip(0, tokenizers.vocabulary_size(facts), projection)
    file, out = tmp_path / "model.safetensors", tmp_path / "run"
    beside = {
        "text_model.embeddings.position_ids": np.arange(9)[None],
        "vision_model.pre_layrnorm.bias": np.zeros(3, np.float32),
        "logit_scale": np.full((), 4.6, np.float32),
    }
    save_file({**tensors, **beside}, file)
    words = ("--tokenizer", definition, "--heads", 3, "--activation", "quick_gelu")
    outcome = genjax("weights", "import", "clip", "--from", file, *words, "--out", out)
    assert outcome.status == 0, outcome
    assert "left out logit_scale, vision_model.pre_layrnorm.bias" in outcome.out
    tokens = [tokenizers.encode(facts, text).tolist()[:9] for text in ("a red car", "apple")]
    check(encoded(out, tokens), Torch(torch, tensors, 3).clip, tokens)
    back = tmp_path / "back.safetensors"
    assert genjax("weights", "export", "clip", out, "--out", back).status == 0
    written = load_file(back)
    assert written.keys() == tensors.keys()
    assert all(np.array_equal(written[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "give the model's vocab.txt by --vocabulary"),
        (("--vocabulary", "{}"), "of width 12, of which no minilm is published"),
        (("--vocabulary", "{}", "--heads", 5), "heads is 5; it must be a divisor of width, 12"),
        (("--vocabulary", "{}", "--heads", 3, "--data", "digits"), "minilm is not trained"),
        (("--vocabulary", "{}", "--activation", "gelu"), "which minilm does not take"),
        (("--tokenizer", "{}"), "which minilm does not take"),
        (("--vocabulary", "{}", "--discriminator", "{}"), "minilm is one network"),
    ],
)
def test_what_does_not_fit_is_refused(flags, message, tmp_path):
    file = tmp_path / "model.safetensors"
    save_file(bert(0), file)
    words = [str(flag).format(write_vocabulary(tmp_path)) for flag in flags]
    out = tmp_path / "run"
    assert message in refusal("weights", "import", "minilm", "--from", file, *words, "--out", out)
    assert not out.exists()


def test_a_vocabulary_of_other_weights_is_refused(tmp_path):
    file = tmp_path / "model.safetensors"
    save_file(bert(0, vocabulary=7), file)
    flags = ("--vocabulary", write_vocabulary(tmp_path), "--out", tmp_path / "run")
    said = refusal("weights", "import", "minilm", "--from", file, *flags)
    assert "vocab.txt has 10 tokens, but" in said


@pytest.mark.full
@pytest.mark.skipif(REAL is None, reason="needs GENJAX_MINILM, a folder of all-MiniLM-L6-v2")
def test_the_real_minilm(torch, tmp_path):
    folder, out = Path(str(REAL)), tmp_path / "run"
    file = folder / "model.safetensors"
    flags = ("--vocabulary", folder / "vocab.txt", "--out", out)
    outcome = genjax("weights", "import", "minilm", "--from", file, *flags)
    assert outcome.status == 0, outcome
    run = open_run(out, "last")
    texts = ["a red apple", "red fruit", "a police car", "The fire brigade's new vehicle, no. 7!"]
    found = Embedding(run.experiment, run.schema, run.state).embed_texts(texts)
    alike = found @ found.T
    assert alike[0, 1] > 0.6 > 0.3 > alike[0, 2]
    assert alike[2, 3] > 0.3 > alike[0, 3]
    official = Torch(torch, load_file(file), 12)
    vocabulary = (folder / "vocab.txt").read_text().split("\n")
    cut = tokenizers.make_encoder(run.schema.facts)
    ends = [vocabulary.index("[CLS]")], [vocabulary.index("[SEP]")]
    for row, text in zip(found, texts, strict=True):
        theirs = official.bert([*ends[0], *cut(text).tolist(), *ends[1]])[1]
        np.testing.assert_allclose(row, theirs, rtol=1e-4, atol=1e-4)
