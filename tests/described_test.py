"""Denoisers that are given captions, labels and vectors: what is read, left out, and guided by."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from denoising import moved

from genjax.config import DiffusionConfig, DiffusionSampling, DiT, TextTransformer
from genjax.core.schema import Field, Spec
from genjax.errors import UserError
from genjax.families.diffusion.algorithm import make_diffusion

KEY = jax.random.key(1)
INDEX = jnp.arange(3)
FACTS = {"tokenizer": "byte"}
FIELDS = {
    "image": Field((4, 4, 1), "float32"),
    "label": Field((), "int32", 3),
    "caption": Field((2, 5), "int32", 256),
    "embedding": Field((6,), "float32"),
}
SPEC = Spec(4, FIELDS, "image", ("caption",), FACTS)
CONFIG = DiffusionConfig(
    network=DiT(patch=2, width=8, depth=1, heads=2),
    text=TextTransformer(width=8, depth=1, heads=2),
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
    fields = {**FIELDS, "wave": Field((4, 1), "float32")}
    with pytest.raises(UserError, match=r"has 'wave', float32 of shape \(4, 1\)"):
        make_diffusion(CONFIG, SPEC._replace(given=("wave",), fields=fields))
