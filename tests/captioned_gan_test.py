"""GANs that are given captions, which another run reads: their steps, samples and refusals."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from readers import READER, random_reader

from genjax.config import MLP, SGD, GANConfig
from genjax.core.frozen import with_frozen
from genjax.core.parallel import compile_step, mapped_axis, step_once
from genjax.core.rng import latents, stream
from genjax.core.schema import Field, Spec
from genjax.errors import UserError
from genjax.families.contrastive.joint import make_joint
from genjax.families.gan.algorithm import make_gan
from genjax.families.gan.composition import make_networks

KEY = jax.random.key(1)
IMAGE, SIZE, RATE = (4, 4, 1), 6, 0.1
FIELDS = {
    "image": Field(IMAGE, "float32"),
    "label": Field((), "int32", 3),
    "caption": Field((2, 5), "int32", 256),
}
SPEC = Spec(SIZE, FIELDS, "image", ("caption",), {"tokenizer": "byte"})
NETWORKS = random_reader(SPEC)
NETWORK = MLP(width=6, depth=1, norm="none")
CONFIG = GANConfig(
    generator=NETWORK,
    generator_conditioning="concat",
    generator_optimizer=SGD(learning_rate=RATE),
    discriminator=NETWORK,
    discriminator_conditioning="projection",
    discriminator_optimizer=SGD(learning_rate=RATE),
    loss="hinge",
    penalties={"mismatch": (0.5, 1)},
    text_encoder="a run",
    condition_width=4,
    latent=5,
)
IMAGES = jnp.float32(np.random.default_rng(0).uniform(-1, 1, (12, *IMAGE)))


def captions(*texts):
    """One candidate each, [n, 1, 5]."""
    rows = np.full((len(texts), 1, 5), -1, np.int32)
    for row, text in zip(rows, texts, strict=True):
        row[0, : len(text)] = list(text.encode())
    return jnp.asarray(rows)


def build(given=("caption",), axis_name=None, accumulate=1, **changes):
    config = dataclasses.replace(CONFIG, **changes)
    spec = SPEC._replace(given=given)
    made = make_gan(config, spec, axis_name, accumulate, networks=NETWORKS)
    return made._replace(frozen=NETWORKS)


def begun(algorithm):
    return with_frozen(jax.jit(algorithm.init)(KEY), NETWORKS)


def vectors(texts):
    """Of length 1, or 0 of an empty one."""
    variables = jax.tree.map(jnp.asarray, NETWORKS["text_encoder"].variables["network"])
    joint = make_joint(READER, SPEC)
    pooled = np.float64(joint.apply(variables, texts[:, 0], False, method="encode_text").pooled)
    return pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)


def hinge(params, discriminator, generator, state, condition):
    """Both of D's losses on real and generated images, and its term on wrong captions."""

    def judge(images, condition):
        made = discriminator.apply({"params": params}, images, True, condition)
        return made.logits

    key = stream(KEY, "discriminator update", 0, 0)
    z = latents(stream(key, "latent"), jnp.arange(SIZE), 5)
    made = generator.apply({"params": state.generator.params}, z, True, condition)
    real, fake = judge(IMAGES[:SIZE], condition), judge(made, condition)
    # The second and the third are of equal captions, the fifth has none.
    wrong = judge(IMAGES[:SIZE], condition[jnp.array([1, 2, 3, 4, 5, 0])])
    kept = jnp.array([0, 2, 4, 5])
    mismatch = jnp.mean(jnp.maximum(0, 1 + wrong)[kept])
    adversarial = jnp.maximum(0, 1 - real) + jnp.maximum(0, 1 + fake)
    return jnp.mean(adversarial) + 0.5 * mismatch, mismatch


def test_a_step_against_its_formula():
    """D's step descends Reed et al.'s loss, with the vectors of the captions."""
    texts = captions("ab", "c", "c", "de", "", "f")
    condition = jnp.float32(vectors(texts))
    np.testing.assert_allclose(np.square(condition).sum(1), [1, 1, 1, 1, 0, 1], atol=1e-6)
    algorithm = build()
    generator, discriminator = make_networks(CONFIG, SPEC, None)
    state = begun(algorithm)
    batch = {"image": IMAGES[:SIZE], "caption": texts}
    new, metrics = jax.jit(algorithm.step)(state, batch)
    gradient, mismatch = jax.jit(
        jax.grad(
            lambda params: hinge(params, discriminator, generator, state, condition), has_aux=True
        )
    )(state.discriminator.params)
    np.testing.assert_allclose(metrics["discriminator/mismatch"], mismatch, rtol=1e-4)
    jax.tree.map(
        lambda p, g, n: np.testing.assert_allclose(n, p - RATE * g, rtol=1e-4, atol=1e-6),
        state.discriminator.params,
        gradient,
        new.discriminator.params,
    )
    # The text encoder stays.
    jax.tree.map(np.testing.assert_array_equal, new.frozen, state.frozen)


def test_wrong_captions_come_from_other_devices_too():
    """An update in two places has the numbers of one."""
    texts = captions("ab", "c", "d", "d", "", "e")
    texts = jnp.concatenate([texts, jnp.where(texts < 0, -1, texts + 1)], axis=1)
    batch = {"image": IMAGES[:SIZE], "caption": texts}
    found = {}
    for mode in ("jit", "mesh", "pmap"):
        algorithm = build(axis_name=mapped_axis(mode))
        compiled = compile_step(algorithm, mode, jax.devices()[: 1 if mode == "jit" else 2])
        state, metrics = step_once(compiled, compiled.init(KEY), batch)
        found[mode] = jax.device_get((state.generator.params, state.discriminator.params, metrics))
    for mode in ("mesh", "pmap"):
        jax.tree.map(
            lambda one, many: np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-6),
            found["jit"],
            found[mode],
        )
    assert 0 < found["jit"][2]["discriminator/mismatch"] < 5


def test_a_sample_is_of_its_caption_and_of_no_other():
    algorithm = build(("label", "caption"))
    assert algorithm.spec.given == ("label", "caption")
    state, index = begun(algorithm), jnp.arange(3)

    @jax.jit
    def draw(index, labels, texts):
        return algorithm.sample(state, KEY, index, {"label": labels, "caption": texts})

    labels = jnp.arange(3)
    made = draw(index, labels, captions("ab", "c", "de"))
    for others in (
        draw(index, labels, captions("ab", "x", "de")),
        draw(index, labels.at[1].set(0), captions("ab", "c", "de")),
    ):
        apart = np.abs(made - others).max(axis=(1, 2, 3))
        assert apart[1] > 1e-4
        assert apart[[0, 2]].tolist() == [0, 0]
    alone = draw(index[2:], labels[2:], captions("de"))
    np.testing.assert_allclose(alone, made[2:], atol=1e-6)


@pytest.mark.full
def test_what_else_there_is_works_with_captions():
    """Of several captions one is drawn; parts, lazy terms, shared images, bfloat16, two updates."""
    texts = captions(*"abcdefghijkl")
    two = jnp.concatenate([texts, texts.at[:, :, 0].add(20)], axis=1)
    for changes in (
        {"penalties": {"mismatch": (0.5, 2)}, "share_generated": True, "joint_pass": True},
        {
            "discriminator_conditioning": "embed",
            "generator_conditioning": "embed",
            "discriminator_updates": 2,
        },
        {
            "discriminator_conditioning": "concat",
            "generator_conditioning": "cbn",
            "generator": dataclasses.replace(NETWORK, norm="virtual"),
        },
        {"dtype": "bfloat16", "accumulate": 2, "generator_batch": 3, "generator_accumulate": 1},
    ):
        algorithm = build(**changes)
        state = begun(algorithm)
        steps = jax.jit(algorithm.step)
        some = (two, two[:, :1], two[:, 1:])
        count = algorithm.examples
        batches = [{"image": IMAGES[:count], "caption": x[:count]} for x in some]
        moved = [steps(state, batch)[1]["discriminator/gradient_norm"] for batch in batches]
        assert np.isfinite(moved).all()
        assert len(set(map(float, moved))) == 3, changes


def test_what_is_refused():
    for changes, message in (
        ({"text_encoder": None}, "read by another run; name it by --model.text-encoder RUN"),
        ({"given": ("label",)}, "text_encoder is a run, but data.given has no caption"),
        (
            {"discriminator_conditioning": "acgan", "penalties": {}},
            "'acgan' is about classes, not captions",
        ),
        (
            {"discriminator_conditioning": "infogan", "penalties": {}},
            "'infogan' is about classes, not captions",
        ),
        ({"discriminator_conditioning": "none"}, "'mismatch' is for a D that is given a condition"),
        ({"loss": "relativistic"}, "judges each image for itself, but 'relativistic' compares"),
        (
            {
                "generator_conditioning": "none",
                "discriminator_conditioning": "none",
                "penalties": {},
            },
            "text_encoder is a run, but the networks are given nothing",
        ),
        ({"condition_width": 0}, "condition_width is 0; it must be at least 1"),
    ):
        with pytest.raises(UserError, match=message):
            build(**changes)
