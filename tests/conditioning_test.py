"""Where labels and codes come in, and what D must tell of them, against float64 NumPy."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats
from specs import image_spec

from genjax.config import MLP, SGD
from genjax.core.rng import latents, stream
from genjax.errors import UserError
from genjax.families.gan.algorithm import make_gan
from genjax.families.gan.composition import make_networks
from genjax.families.gan.conditioning import RECOGNITION, make_conditioning
from genjax.families.gan.networks import GENERATOR_CONDITIONING, Discriminator, Generator
from genjax.nn.dcgan import DCGANDecoder
from genjax.nn.layers import Layers
from genjax.nn.mlp import MLPDecoder, MLPEncoder
from genjax.nn.norms import NORMS, Normalize
from genjax.nn.sngan import SNGANDecoder

KEY = jax.random.key(1)
RNG = np.random.default_rng(0)
BATCH, CLASSES, IMAGE = 6, 3, (4, 4, 1)
LABELS = np.array([0, 2, 1, 1, 0, 2])
ONE_HOT = np.eye(CLASSES, dtype=np.float32)[LABELS]
IMAGES = RNG.uniform(-1, 1, (BATCH, *IMAGE)).astype(np.float32)
Z = RNG.normal(size=(BATCH, 5)).astype(np.float32)
EPSILON = 1e-5
# What comes into networks, and the width of the layer that it passes first.
GIVEN = {
    "labels": (ONE_HOT, None),
    "vectors": (RNG.normal(size=(BATCH, 4)).astype(np.float32), 7),
}


def draw(module, *inputs):
    """Parameters of which none is at a special value, and the shapes of everything."""
    shapes = jax.eval_shape(lambda: module.init(KEY, *inputs))
    params = jax.tree.map(lambda p: jnp.float32(0.5 * RNG.normal(size=p.shape)), shapes["params"])
    return params, shapes


def wide(params):
    return jax.tree.map(np.float64, params)


def affine(layer, x):
    return x @ layer["kernel"] + layer.get("bias", 0)


def leaky_relu(x):
    return np.where(x > 0, x, 0.2 * x)


def passed(params, given):
    """What is given, after the layer that it passes first if there is one."""
    layer = params.get("reduction")
    return given if layer is None else leaky_relu(affine(layer, np.float64(given)))


# ---- conditional normalisation ----


@pytest.mark.parametrize("shape", [(BATCH, 3, 5, 4), (BATCH, 4)], ids=["maps", "vectors"])
def test_conditional_batch_norm(shape):
    """De Vries et al. 2017: ``y = (1 + W c) (x - mean) / std + W' c``, training and evaluating."""
    x = RNG.normal(1, 2, shape).astype(np.float32)
    arguments = jnp.asarray(x), jnp.asarray(ONE_HOT)
    training = Normalize(NORMS["batch"](True, None, 0))
    variables = training.init(KEY, *arguments)
    params, _ = draw(training, *arguments)
    kernel = {"kernel": (CLASSES, 4)}
    assert jax.tree.map(np.shape, params) == {"gain": kernel, "conditional_bias": kernel}
    weights = wide(params)
    y, changed = training.apply({**variables, "params": params}, *arguments, mutable="batch_stats")

    axes = tuple(range(len(shape) - 1))
    broadcast = (BATCH, *(1,) * (len(shape) - 2), 4)
    gain = (1 + weights["gain"]["kernel"][LABELS]).reshape(broadcast)
    bias = weights["conditional_bias"]["kernel"][LABELS].reshape(broadcast)
    mean, variance = np.float64(x).mean(axes), np.float64(x).var(axes)
    normal = (x - mean) / np.sqrt(variance + EPSILON)
    np.testing.assert_allclose(y, gain * normal + bias, rtol=1e-4, atol=1e-5)

    evaluating = Normalize(NORMS["batch"](False, None, 0))
    y = evaluating.apply({"params": params, **changed}, *arguments)
    mean, variance = 0.1 * mean, 0.9 + 0.1 * variance
    normal = (x - mean) / np.sqrt(variance + EPSILON)
    np.testing.assert_allclose(y, gain * normal + bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NORMS)
def test_a_condition_without_weight_is_none(name):
    x, c = jnp.asarray(RNG.normal(size=(BATCH, 3, 3, 4)), jnp.float32), jnp.asarray(ONE_HOT)
    module = Normalize(NORMS[name](True, None, 2))
    variables = module.init(KEY, x, c)
    zero = {**variables, "params": jax.tree.map(jnp.zeros_like, variables["params"])}
    conditional, _ = module.apply(zero, x, c, mutable="batch_stats")
    plain, _ = module.init_with_output(KEY, x)
    np.testing.assert_allclose(conditional, plain, rtol=1e-6, atol=1e-6)


# ---- the generator ----


def generator_formula(conditioning, params, given):
    """A hidden layer of batch norm and ReLU, and a tanh, in training mode."""
    weights = wide(params)["decoder"]
    z, given = np.float64(Z), passed(wide(params), given)
    if conditioning == "concat":
        z = np.concatenate([z, given], 1)
    if conditioning == "embed":
        z = np.concatenate([z, given @ wide(params)["embedding"]["kernel"]], 1)
    hidden = affine(weights["Dense_0"], z)
    normal = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + EPSILON)
    norm = weights["Normalize_0"]
    if conditioning == "cbn":
        gain = 1 + given @ norm["gain"]["kernel"]
        bias = given @ norm["conditional_bias"]["kernel"]
    else:
        gain, bias = norm["scale"], norm["bias"]
    return np.tanh(affine(weights["Dense_1"], np.maximum(gain * normal + bias, 0)))


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize("conditioning", ["none", "concat", "cbn", "embed"])
def test_generator(conditioning, kind):
    given, width = GIVEN[kind]
    decoder = MLPDecoder(IMAGE, 7, 1, Layers("batch"))
    module = Generator(decoder, conditioning, width=width)
    condition = None if conditioning == "none" else jnp.asarray(given)
    params, shapes = draw(module, jnp.asarray(Z), True, condition)
    # In training mode, the running moments are not read.
    moments = jax.tree.map(lambda p: jnp.zeros(p.shape), shapes["batch_stats"])

    @jax.jit
    def run(variables):
        return module.apply(variables, jnp.asarray(Z), True, condition, mutable="batch_stats")[0]

    images = run({"params": params, "batch_stats": moments})
    # A condition enters in one place alone.
    inputs = 5 + {"concat": width or CLASSES, "embed": 5}.get(conditioning, 0)
    assert params["decoder"]["Dense_0"]["kernel"].shape == (inputs, 7)
    expected = generator_formula(conditioning, params, given)
    np.testing.assert_allclose(images.reshape(BATCH, -1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("decoder", [DCGANDecoder, SNGANDecoder, MLPDecoder])
def test_cbn_conditions_every_norm(decoder):
    module = Generator(decoder((8, 8, 1), width=4, layers=Layers("batch")), "cbn")
    variables = jax.eval_shape(
        lambda: module.init(KEY, jnp.asarray(Z), False, jnp.asarray(ONE_HOT))
    )
    norms = {n: p for n, p in variables["params"]["decoder"].items() if n.startswith("Normalize")}
    assert len(norms) >= 2
    assert all(set(norm) == {"gain", "conditional_bias"} for norm in norms.values())


def test_cbn_without_a_norm_is_refused():
    module = Generator(MLPDecoder(IMAGE, 7, 1, Layers("none")), "cbn")
    with pytest.raises(UserError, match="'cbn' needs a norm"):
        module.init(KEY, jnp.asarray(Z), False, jnp.asarray(ONE_HOT))


# ---- the discriminator ----

HEADS = {
    "none": (),
    "concat": (),
    "projection": (),
    "embed": (),
    "acgan": (("class", CLASSES),),
    "infogan": (("category", CLASSES), ("code", 2)),
}


def test_every_conditioning_of_the_discriminator_has_a_formula_here():
    # StyleGAN2's mapping is in stylegan2_test.
    assert {*HEADS, "mapping"} == set(RECOGNITION)
    assert {name for name, task in RECOGNITION.items() if task} == {"acgan", "infogan"}
    assert set(GENERATOR_CONDITIONING) == {"none", "concat", "cbn", "embed", "mapping"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in HEADS for kind in GIVEN if kind == "labels" or not HEADS[name]],
)
def test_discriminator(name, kind, small_gan):
    """One hidden layer, its logit, and what the conditioning adds."""
    given, width = GIVEN[kind]
    config = dataclasses.replace(small_gan, code_categories=CLASSES, code_continuous=2)
    task = RECOGNITION[name]
    sizes = () if task is None else task.sizes(config, CLASSES)
    assert sizes == HEADS[name]
    encoder = MLPEncoder(7, 1, Layers())
    module = Discriminator(encoder, Layers(), name, auxiliary=sizes, width=width)
    arguments = jnp.asarray(IMAGES), True, None if name == "none" else jnp.asarray(given)
    params, _ = draw(module, *arguments)
    judgement = jax.jit(lambda p: module.apply({"params": p}, *arguments))(params)

    weights = wide(params)
    images, given = np.float64(IMAGES), passed(weights, given)
    if name == "concat":
        # Mirza & Osindero 2014: the condition's own map, as a second channel.
        label_map = (given @ weights["label_map"]["kernel"]).reshape(BATCH, 4, 4, 1)
        images = np.concatenate([images, label_map], -1)
    features = leaky_relu(affine(weights["encoder"]["Dense_0"], images.reshape(BATCH, -1)))
    if name == "embed":
        # R3GAN's code: (V y)^T W phi(x), without a logit of its own.
        assert set(weights["logit"]) == {"kernel"}
        v, w = weights["embedding"]["kernel"], weights["logit"]["kernel"]
        logits = np.einsum("be,bf,fe->b", given @ v, features, w)
    else:
        logits = affine(weights["logit"], features)[:, 0]
    if name == "projection":
        # Miyato & Koyama 2018: psi(phi(x)) + y^T V phi(x).
        v = weights["embedding"]["kernel"]
        assert v.shape == (width or CLASSES, 7)
        logits = logits + np.einsum("bc,cf,bf->b", given, v, features)
    np.testing.assert_allclose(judgement.logits, logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(judgement.features, features, rtol=1e-4, atol=1e-5)
    assert set(judgement.auxiliary) == {head for head, _ in sizes}
    for head, size in sizes:
        expected = affine(weights[head], features)
        assert expected.shape == (BATCH, size)
        np.testing.assert_allclose(judgement.auxiliary[head], expected, rtol=1e-4, atol=1e-5)


def test_everything_the_condition_passes_is_spectrally_normalised():
    for name, layer in (
        ("concat", "label_map"),
        ("projection", "embedding"),
        ("embed", "embedding"),
    ):
        layers = Layers(spectral_norm=True)
        module = Discriminator(MLPEncoder(7, 1, layers), layers, name)
        inputs = jnp.asarray(IMAGES), True, jnp.asarray(ONE_HOT)
        variables = jax.eval_shape(lambda m=module, i=inputs: m.init(KEY, *i))
        assert set(variables["spectral"]) == {"encoder", "logit", layer}


def class_formula(outputs, labels):
    """Odena et al. 2017, equation 3: ``-log P(C = c | X)``."""
    probabilities = special.softmax(outputs["class"], axis=-1)
    return -np.log(probabilities[np.arange(len(labels)), labels])


def code_formula(outputs, labels, code):
    """Chen et al. 2016: ``-log Q(c | x)``, a softmax and Gaussians of variance 1."""
    probabilities = special.softmax(outputs["category"], axis=-1)
    loss = -np.log(probabilities[np.arange(len(labels)), labels])
    for place in range(code.shape[1]):
        loss = loss - stats.norm.logpdf(code[:, place], outputs["code"][:, place], 1)
    return loss


def draw_outputs(heads):
    return {name: RNG.normal(size=(BATCH, size)) * 3 for name, size in heads}


def test_class_loss():
    outputs = draw_outputs(HEADS["acgan"])
    loss = RECOGNITION["acgan"].loss(None, jax.tree.map(jnp.float32, outputs), jnp.array(ONE_HOT))
    np.testing.assert_allclose(loss, class_formula(outputs, LABELS), rtol=1e-5, atol=1e-6)
    assert RECOGNITION["acgan"].on_real


@pytest.mark.parametrize("continuous", [0, 1, 2])
def test_code_loss(small_gan, continuous):
    config = dataclasses.replace(small_gan, code_categories=CLASSES, code_continuous=continuous)
    task = RECOGNITION["infogan"]
    heads = task.sizes(config, 0)
    assert dict(heads) == {"category": CLASSES} | ({"code": continuous} if continuous else {})
    outputs = draw_outputs(heads)
    code = RNG.uniform(-1, 1, (BATCH, continuous))
    condition = jnp.concatenate([jnp.asarray(ONE_HOT), jnp.float32(code)], -1)
    loss = task.loss(config, jax.tree.map(jnp.float32, outputs), condition)
    np.testing.assert_allclose(loss, code_formula(outputs, LABELS, code), rtol=1e-5, atol=1e-6)
    # The codes of real images are unknown.
    assert not task.on_real


# ---- what is drawn ----


def conditional(config, generator, discriminator, **others):
    """`config` with conditional networks, small and without norms unless cbn needs them."""
    norm = "batch" if generator == "cbn" else "none"
    network = MLP(width=6, depth=1)
    return dataclasses.replace(
        config,
        generator=dataclasses.replace(network, norm=norm),
        generator_conditioning=generator,
        discriminator=dataclasses.replace(network, norm="none"),
        discriminator_conditioning=discriminator,
        ema_decay=None,
        **others,
    )


def test_codes(small_gan):
    config = conditional(small_gan, "concat", "infogan", code_categories=4, code_continuous=2)
    conditioning = make_conditioning(config, 0)
    assert (conditioning.classes, conditioning.labelled) == (4, False)
    draw = jax.jit(conditioning.draw)
    codes = np.asarray(draw(KEY, jnp.arange(600), None))
    category, continuous = codes[:, :4], codes[:, 4:]
    assert set(np.unique(category)) == {0, 1}
    assert (category.sum(1) == 1).all()
    assert stats.chisquare(category.sum(0)).pvalue > 0.01
    assert continuous.shape == (600, 2)
    for code in continuous.T:
        assert -1 <= code.min() < -0.98
        assert 0.98 < code.max() < 1
        assert stats.kstest(code, stats.uniform(-1, 2).cdf).pvalue > 0.01
    correlations = np.corrcoef(np.c_[continuous, category.argmax(1)].T)
    assert np.abs(correlations - np.eye(3)).max() < 0.15
    # Of an example's place in the whole batch, and of the key.
    np.testing.assert_array_equal(draw(KEY, jnp.array([7, 3]), None), codes[[7, 3]])
    assert not np.array_equal(draw(jax.random.key(2), jnp.arange(600), None), codes)
    # A label is the category, and leaves the rest.
    labels = jnp.arange(600) % 4
    chosen = np.asarray(draw(KEY, jnp.arange(600), labels))
    np.testing.assert_array_equal(chosen[:, :4].argmax(1), labels)
    np.testing.assert_array_equal(chosen[:, 4:], continuous)


@pytest.mark.parametrize("discriminator", ["concat", "projection", "embed", "acgan"])
def test_labels_become_one_hot(small_gan, discriminator):
    conditioning = make_conditioning(conditional(small_gan, "cbn", discriminator), CLASSES)
    assert (conditioning.classes, conditioning.labelled) == (CLASSES, True)
    drawn = conditioning.draw(KEY, jnp.arange(BATCH), jnp.asarray(LABELS))
    np.testing.assert_array_equal(drawn, ONE_HOT)


def test_unconditional_models_are_given_nothing(small_gan):
    conditioning = make_conditioning(small_gan, CLASSES)
    assert (conditioning.classes, conditioning.labelled) == (0, False)
    assert conditioning.draw(KEY, jnp.arange(BATCH), jnp.asarray(LABELS)) is None


def test_conditioning_that_does_not_fit_is_refused(small_gan):
    for generator, discriminator, classes, message in (
        ("none", "projection", CLASSES, "set both, or neither"),
        ("cbn", "none", CLASSES, "set both, or neither"),
        ("concat", "acgan", 0, "'acgan' needs class labels"),
        ("concat", "concat", 0, "'concat' needs class labels"),
        ("cnb", "acgan", CLASSES, "conditioning of the generator 'cnb'; did you mean 'cbn'"),
        ("cbn", "acgn", CLASSES, "conditioning of the discriminator 'acgn'; did you mean 'acgan'"),
    ):
        config = conditional(small_gan, generator, discriminator)
        with pytest.raises(UserError, match=message):
            make_gan(config, image_spec(BATCH, IMAGE, classes))


# ---- in a step ----


@pytest.mark.parametrize("name", ["acgan", "infogan"])
def test_recognition_in_a_step(small_gan, name):
    """D recognises real and generated images (acgan) or generated ones (infogan), G its own; the
    term has its weight in both losses."""
    rate, weight = 0.1, 0.7
    sgd = SGD(learning_rate=rate)
    config = conditional(
        small_gan,
        "concat",
        name,
        auxiliary_weight=weight,
        code_categories=CLASSES,
        generator_optimizer=sgd,
        discriminator_optimizer=sgd,
    )
    spec = image_spec(BATCH, IMAGE, CLASSES)
    algorithm = make_gan(config, spec)
    generator, discriminator = make_networks(config, spec, None)
    state = jax.jit(algorithm.init)(KEY)
    batch = {"image": jnp.asarray(IMAGES), "label": jnp.asarray(LABELS)}
    new, metrics = jax.jit(algorithm.step)(state, batch)
    draw = make_conditioning(config, CLASSES).draw
    index = jnp.arange(BATCH)

    def made(key, params):
        # Generated images have the labels of the real ones at their places.
        given = draw(key, index, jnp.asarray(LABELS) if name == "acgan" else None)
        z = latents(stream(key, "latent"), index, config.latent)
        return generator.apply({"params": params}, z, True, given), given

    def recognised(judgement, condition):
        outputs = judgement.auxiliary
        if name == "acgan":
            return -jnp.mean(jnp.sum(condition * nn.log_softmax(outputs["class"]), -1))
        log_category = jnp.sum(condition[:, :CLASSES] * nn.log_softmax(outputs["category"]), -1)
        square = jnp.sum((condition[:, CLASSES:] - outputs["code"]) ** 2, -1)
        return jnp.mean(square / 2 + np.log(2 * np.pi) - log_category)

    def judge(params, images, condition):
        return discriminator.apply({"params": params}, images, True, condition)

    def d_loss(params):
        images, condition = made(stream(KEY, "discriminator update", 0, 0), state.generator.params)
        real, fake = judge(params, batch["image"], condition), judge(params, images, condition)
        adversarial = jnp.mean(nn.softplus(-real.logits) + nn.softplus(fake.logits))
        term = recognised(fake, condition)
        if name == "acgan":
            term += recognised(real, jnp.asarray(ONE_HOT))
        return adversarial + weight * term, term

    def g_loss(params):
        images, condition = made(stream(KEY, "generator update", 0), params)
        fake = judge(new.discriminator.params, images, condition)
        term = recognised(fake, condition)
        return jnp.mean(nn.softplus(-fake.logits)) + weight * term, term

    params = state.discriminator.params, state.generator.params

    @jax.jit
    def terms_and_gradients(params):
        both = [
            jax.value_and_grad(loss, has_aux=True)(p)
            for loss, p in zip((d_loss, g_loss), params, strict=True)
        ]
        return [term for (_, term), _ in both], [gradient for _, gradient in both]

    terms, gradients = terms_and_gradients(params)
    np.testing.assert_allclose(metrics["discriminator/recognition"], terms[0], rtol=1e-5)
    np.testing.assert_allclose(metrics["generator/recognition"], terms[1], rtol=1e-5)
    jax.tree.map(
        lambda p, g, n: np.testing.assert_allclose(n, p - rate * g, rtol=1e-4, atol=1e-6),
        params,
        tuple(gradients),
        (new.discriminator.params, new.generator.params),
    )
