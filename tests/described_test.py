"""Denoisers that are given captions, labels and vectors: what is read, left out, and guided by."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from denoising import moved

from genjax.config import (
    DiffusionConfig,
    DiffusionSampling,
    DiT,
    SequenceTransformer,
    TextTransformer,
)
from genjax.core.from_loss import Context
from genjax.core.schema import Field, Spec
from genjax.errors import UserError
from genjax.families.diffusion.algorithm import make_diffusion
from genjax.families.diffusion.conditions import conditions_of
from genjax.families.diffusion.told import some_taken

KEY = jax.random.key(1)
INDEX = jnp.arange(3)
FACTS = {"tokenizer": "byte"}
FIELDS = {
    "image": Field((4, 4, 1), "float32"),
    "label": Field((), "int32", 3),
    "caption": Field((2, 5), "int32", 256),
    "embedding": Field((6,), "float32"),
    "speech": Field((3, 4), "float32"),
}
SPEC = Spec(4, FIELDS, "image", ("caption",), FACTS)
CONFIG = DiffusionConfig(
    network=DiT(patch=2, width=8, depth=1, heads=2),
    text=TextTransformer(width=8, depth=1, heads=2),
    sequence=SequenceTransformer(width=8, depth=1, heads=2),
    conditional=True,
    label_dropout=0.5,
    ema_decay=None,
)
ONCE = DiffusionSampling(solver="euler", steps=1)


def captions(*texts):
    """One candidate each, [n, 1, 5]."""
    rows = np.full((len(texts), 1, 5), -1, np.int32)
    for row, text in zip(rows, texts, strict=True):
        row[0, : len(text)] = list(text.encode())
    return jnp.asarray(rows)


def build(given=("caption",), options=ONCE, **changes):
    config = dataclasses.replace(CONFIG, **changes)
    return make_diffusion(config, SPEC._replace(given=given), sampling=options)


@pytest.fixture(scope="module")
def state():
    return moved(build(), KEY)[1]


def samples(state, options, texts=("ab", "c", "de"), index=INDEX):
    made = build(options=options).sample(state, KEY, index, {"caption": captions(*texts)})
    return np.asarray(made)


def test_a_sample_is_of_its_caption_and_of_no_other(state):
    """One step from noise to data leaves a sample what the network says, so guidance shows."""
    made = samples(state, ONCE)
    other = samples(state, ONCE, ("ab", "x", "de"))
    assert np.abs(made - other).max(axis=(1, 2, 3)).tolist()[::2] == [0, 0]
    assert np.abs(made - other)[1].max() > 1e-3
    np.testing.assert_allclose(samples(state, ONCE, ("de",), INDEX[2:]), made[2:], atol=2e-4)


def unclipped(options):
    """A model whose numbers are no pixels, so that nothing is clipped."""
    spec = SPEC._replace(coded=True)
    return make_diffusion(CONFIG, spec, sampling=options).sample


def test_guidance_leads_from_nothing_or_from_another_prompt(state):
    given = {"caption": captions("ab", "c", "de")}

    def drawn(given, **options):
        return np.asarray(unclipped(dataclasses.replace(ONCE, **options))(state, KEY, INDEX, given))

    own, free = drawn(given), drawn({"caption": captions("", "", "")})
    against = drawn({"caption": captions("no", "no", "no")})
    assert np.abs(own - free).max() > 1e-3
    np.testing.assert_allclose(drawn(given, guidance=3), free + 3 * (own - free), atol=2e-4)
    np.testing.assert_allclose(
        drawn(given, guidance=3, negative="no"), against + 3 * (own - against), atol=2e-4
    )


@pytest.mark.full
def test_of_several_captions_one_is_drawn_and_a_share_is_left_out():
    """The loss of a batch is that of captions that were drawn before, or of none."""
    x = jnp.zeros((4, 4, 4, 1))
    two = jnp.concatenate([captions("ab", "c", "de", "f"), captions("gh", "", "i", "j")], axis=1)

    def gradient(dropout, given):
        algorithm, state = moved(build(label_dropout=dropout), KEY)
        return algorithm.step(state, {"image": x, "caption": given})[1]["network/loss"]

    none = gradient(0.0, jnp.full((4, 2, 5), -1))
    assert gradient(0.999999, two) == none
    kept = gradient(0.0, two)
    assert kept not in (none, gradient(0.0, two[:, :1]), gradient(0.0, two[:, ::-1]))


def left_out(given=("label", "caption", "embedding"), count=2000, **shares):
    """Of which examples labels, captions and vectors are left out."""
    config = dataclasses.replace(CONFIG, **shares)
    conditions = conditions_of(config, SPEC._replace(given=given), "a model")
    place = jnp.arange(count)
    batch = {
        "label": jnp.zeros(count, jnp.int32),
        "caption": jnp.tile(captions("ab"), (count, 1, 1)),
        "embedding": jnp.ones((count, 6)),
    }
    context = Context({}, place, KEY, KEY, KEY, jnp.int32(0), {})
    some = some_taken(conditions, batch, context)
    return (
        np.asarray(some.labels == 3),
        np.asarray((some.captions < 0).all(axis=1)),
        np.asarray((some.vectors["embedding"] == 0).all(axis=1)),
    )


def test_captions_may_be_left_out_by_themselves():
    label, caption, vector = left_out(label_dropout=0.1, caption_dropout=0.5)
    np.testing.assert_array_equal(label, vector)
    assert 0.08 < vector.mean() < 0.12
    assert 0.46 < caption.mean() < 0.54
    assert 0.03 < (caption & vector).mean() < 0.07
    # As before, where they have no share of their own.
    together = left_out(label_dropout=0.1)
    for name in together:
        np.testing.assert_array_equal(name, vector)


def test_guidance_needs_examples_of_nothing():
    guided = DiffusionSampling(guidance=2.0)
    build(options=guided, label_dropout=0.0, caption_dropout=0.5)
    both = ("caption", "embedding")
    build(both, guided, label_dropout=0.1, caption_dropout=0.5)
    for shares in ((0.1, 0.0), (0.0, 0.5), (0.0, None)):
        few = dict(zip(("label_dropout", "caption_dropout"), shares, strict=True))
        with pytest.raises(UserError, match="never without what it is given"):
            build(both, guided, **few)
    with pytest.raises(UserError, match=r"caption_dropout is 0.5, but data.given has no caption"):
        build(("label",), caption_dropout=0.5)


@pytest.mark.full
def test_labels_captions_and_vectors_together():
    given = ("label", "caption", "embedding")
    algorithm, state = moved(build(given), KEY)
    vector = jnp.float32(np.random.default_rng(0).normal(size=(3, 6)))
    condition = {
        "label": jnp.arange(3),
        "caption": captions("ab", "c", "de"),
        "embedding": vector,
    }
    made = algorithm.sample(state, KEY, INDEX, condition)
    for name, changed in {
        "label": jnp.array([1, 1, 2]),
        "caption": captions("x", "c", "de"),
        "embedding": vector.at[0].multiply(-1),
    }.items():
        other = algorithm.sample(state, KEY, INDEX, {**condition, name: changed})
        apart = np.abs(made - other).max(axis=(1, 2, 3))
        assert apart[0] > 1e-4, name
        assert apart[1:].tolist() == [0, 0], name
    # Its direction counts alone.
    other = algorithm.sample(state, KEY, INDEX, {**condition, "embedding": 2 * vector})
    np.testing.assert_allclose(made, other, atol=1e-3)


def test_a_sequence_is_read_left_out_and_guides():
    """As a caption is; where it is 0 everywhere it is not there."""
    algorithm, state = moved(build(("speech",)), KEY)
    speech = jnp.float32(np.random.default_rng(0).normal(size=(3, 3, 4)))
    spec = SPEC._replace(given=("speech",), coded=True)

    def drawn(given, guidance=1.0):
        options = dataclasses.replace(ONCE, guidance=guidance)
        sample = make_diffusion(CONFIG, spec, sampling=options).sample
        return np.asarray(sample(state, KEY, INDEX, {"speech": given}))

    own, free = drawn(speech), drawn(jnp.zeros_like(speech))
    # Each place of it counts, and no example's other than its own.
    moved_one = drawn(speech.at[0, 2].add(1.0))
    assert np.abs(own - free).max(axis=(1, 2, 3)).min() > 1e-3
    assert np.abs(own - moved_one).max(axis=(1, 2, 3)).tolist()[1:] == [0, 0]
    assert np.abs(own - moved_one)[0].max() > 1e-4
    np.testing.assert_allclose(drawn(speech, 3.0), free + 3 * (own - free), atol=2e-4)
    _, metrics = algorithm.step(state, {"image": jnp.zeros((3, 4, 4, 1)), "speech": speech})
    assert np.isfinite(metrics["network/loss"])


def test_what_is_refused():
    with pytest.raises(UserError, match=r"label_dropout is 0.5, but the model is given no labels"):
        build(conditional=False)
    with pytest.raises(UserError, match="needs class labels or captions"):
        build(())
    with pytest.raises(UserError, match=r"text_encoder is runs/x, but data.given has no caption"):
        build(("label",), text_encoder="runs/x")
    with pytest.raises(UserError, match="negative is 'no' and guidance is 1, at which nothing"):
        build(options=DiffusionSampling(negative="no"))
    with pytest.raises(UserError, match="negative is 'no', but the model is given no captions"):
        build(("label",), DiffusionSampling(negative="no", guidance=2))
    with pytest.raises(UserError, match=r"has 'caption' and 'speech', and a diffusion model reads"):
        build(("caption", "speech"))
    fields = {**FIELDS, "wave": Field((4, 1), "int16")}
    with pytest.raises(UserError, match=r"has 'wave', int16 of shape \(4, 1\)"):
        make_diffusion(CONFIG, SPEC._replace(given=("wave",), fields=fields))
