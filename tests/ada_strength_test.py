"""The strength of an augmentation, adapted or scheduled, against loops; and in a step."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from specs import image_spec
from tiny_gan import IMAGE, IMAGES, KEY, SIZE, TINY, judge, run_steps

from genjax.config import GANConfig, Linear
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.families.gan.algorithm import make_gan
from genjax.families.gan.techniques import adapt_augment
from genjax.run.loop import train
from genjax.run.rerun import compare_runs


def close(a, b, **tolerances):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerances), a, b)


def test_adapted_strength():
    """After every third step p moves by the images seen, against a loop; it never falls below 0."""
    config = GANConfig(
        ada={"blit": 1.0}, ada_target=0.6, ada_speed=100, ada_interval=3, discriminator_updates=2
    )
    rng = np.random.default_rng(0)
    signs = np.float32([*rng.uniform(0.5, 1, (9, 2)), *rng.uniform(-1, 0.5, (18, 2))])
    move = jax.jit(lambda aux, step: adapt_augment(config, aux, step, 5))
    aux = {"augment_p": jnp.zeros(()), "augment_sign": jnp.zeros(())}
    p, seen, path = 0.0, [], []
    for step, both in enumerate(signs):
        aux = {**aux, "augment_sign": aux["augment_sign"] + both.sum()}
        aux = move(aux, jnp.int32(step))
        seen += [*both]
        if len(seen) == 6:
            p, seen = max(p + np.sign(np.mean(seen) - 0.6) * 30 / 100, 0), []
        np.testing.assert_allclose(aux["augment_p"], p, rtol=1e-5, atol=1e-6)
        path.append(p)
    assert max(path) > 0.8
    assert path[-1] == 0


def test_p_may_pass_1():
    """As in the authors' code."""
    config = GANConfig(ada={"blit": 0.5}, ada_p=1.0, ada_target=0.6, ada_speed=8, ada_interval=1)
    aux = {"augment_p": jnp.ones(()), "augment_sign": jnp.ones(())}
    assert adapt_augment(config, aux, jnp.int32(0), 4)["augment_p"] == 1.5


def test_a_sign_on_the_target_changes_nothing():
    config = GANConfig(ada={"blit": 1.0}, ada_p=0.5, ada_target=0.5, ada_interval=2)
    aux = {"augment_p": jnp.float32(0.5), "augment_sign": jnp.float32(1)}
    moved = adapt_augment(config, aux, jnp.int32(1), 64)
    assert (moved["augment_p"], moved["augment_sign"]) == (0.5, 0)


ADA = {"ada": {"brightness": 1.0}, "ada_speed": 40, "ada_interval": 2}


def test_augmentation_adapts_in_a_step():
    """p is what the signs that are reported make of it, and what the next step draws with."""
    path = run_steps(dataclasses.replace(TINY, **ADA, ada_target=0.3), 8)
    plain = run_steps(TINY, 1)[0]
    assert not {"discriminator/augment_p", "discriminator/real_sign"} & set(plain[2])
    assert not {"augment_p", "augment_sign"} & set(plain[1].aux)
    # At first p is 0, so that nothing is changed.
    close(path[0][1].discriminator, plain[1].discriminator, rtol=1e-5, atol=1e-6)
    close(path[0][1].generator, plain[1].generator, rtol=1e-5, atol=1e-6)
    _, logits = judge(path[0][0].discriminator.params, IMAGES)
    np.testing.assert_allclose(
        path[0][2]["discriminator/real_sign"], np.sign(logits).mean(), rtol=1e-6
    )
    p, signs = 0.0, []
    for _, new, metrics in path:
        np.testing.assert_allclose(metrics["discriminator/augment_p"], p, rtol=1e-6)
        signs.append(float(metrics["discriminator/real_sign"]))
        if len(signs) == 2:
            p, signs = max(p + np.sign(np.mean(signs) - 0.3) * 2 * SIZE / 40, 0), []
        np.testing.assert_allclose(new.aux["augment_p"], p, rtol=1e-6)
        np.testing.assert_allclose(new.aux["augment_sign"], sum(signs), rtol=1e-6, atol=1e-6)
    assert p > 0


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_both_players_see_augmented_images(player):
    config = dataclasses.replace(TINY, **ADA, ada_target=0.3)
    algorithm = make_gan(config, image_spec(SIZE, IMAGE))
    state = jax.jit(algorithm.init)(KEY)
    update = jax.jit(algorithm.updates[player])
    batch = {"image": jnp.asarray(IMAGES)}
    found = [
        update(dataclasses.replace(state, aux={**state.aux, "augment_p": jnp.float32(p)}), batch)[
            1
        ][f"{player}/loss"]
        for p in (0, 1)
    ]
    assert abs(found[0] - found[1]) > 1e-3


def test_scheduled_strength():
    """By the images that D has seen: 6 in each of two updates a step."""
    config = dataclasses.replace(
        TINY,
        **ADA,
        ada_p=0.5,
        ada_schedule=Linear(start=0.0, end=1.0, length=48, unit="images"),
        discriminator_updates=2,
    )
    algorithm = make_gan(config, image_spec(SIZE, IMAGE))
    state, step = jax.jit(algorithm.init)(KEY), jax.jit(algorithm.step)
    found = []
    for _ in range(6):
        state, metrics = step(state, {"image": jnp.asarray(np.concatenate([IMAGES, IMAGES]))})
        found.append(float(metrics["discriminator/augment_p"]))
    np.testing.assert_allclose(found, [0, 0.125, 0.25, 0.375, 0.5, 0.5], rtol=1e-6)
    assert not {"augment_p", "augment_sign"} & set(state.aux)


def test_a_resumed_augmentation_is_exact(small_experiment, tmp_path):
    model = dataclasses.replace(TINY, **{**ADA, "ada_speed": 400}, ada_target=0.3)
    longer = dataclasses.replace(small_experiment, model=model, steps=9, log_every=1)
    dataset, quiet = load(longer.data), Console(quiet=True)
    train(longer, tmp_path / "once", dataset, quiet)
    # In the middle of an interval.
    train(dataclasses.replace(longer, steps=5), tmp_path / "twice", dataset, quiet)
    train(longer, tmp_path / "twice", dataset, quiet, resume=True)
    assert compare_runs(tmp_path / "once", tmp_path / "twice").different == []
    lines = map(json.loads, (tmp_path / "once" / "metrics.jsonl").read_text().splitlines())
    strengths = {line.get("discriminator/augment_p") for line in lines} - {None}
    assert len(strengths) > 2


@pytest.mark.parametrize(
    ("change", "shape", "message"),
    [
        ({"ada": {"xflop": 1.0}}, IMAGE, "operation of ada 'xflop'; did you mean 'xflip'"),
        ({"ada": {"blit": 1.0}}, (64, 1), "'blit' is for images, but examples have shape"),
        ({"ada": {"noise": 1.0}}, (2,), "'noise' is for images, but examples have shape"),
        ({"ada": {"color": 1.0}}, (4, 4, 2), "'brightness' is for grey images or red, green"),
        ({"ada_p": 0.5}, IMAGE, "ada_p is 0.5 without operations; set ada"),
        ({"ada_target": 0.6}, IMAGE, "ada_target is 0.6 without operations; set ada"),
        (
            {"ada": {"geom": 1.0}, "ada_target": 0.6, "loss": "relativistic"},
            IMAGE,
            "ada_target needs logits whose sign says what is real, but loss 'relativistic'",
        ),
        (
            {"ada": {"geom": 1.0}, "ada_target": 0.6, "loss": "wasserstein"},
            IMAGE,
            "but loss 'wasserstein' only compares them",
        ),
    ],
)
def test_augmentations_that_do_not_fit(change, shape, message):
    with pytest.raises(UserError, match=message):
        make_gan(dataclasses.replace(TINY, **change), image_spec(SIZE, shape))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ada_p": 1.5}, r"ada_p is 1.5; it must be in \[0, 1\]"),
        ({"ada_target": -0.1}, r"ada_target is -0.1; it must be in \[0, 1\]"),
        ({"ada_speed": 0}, "ada_speed is 0; it must be at least 1"),
        ({"ada_interval": 0}, "ada_interval is 0; it must be at least 1"),
        ({"ada": {"xflip": -1.0}}, r"'xflip' with share -1.0; it must be in \[0, 1\]"),
        ({"ada": {"xflip": float("nan")}}, "'xflip' with share nan; it must be in"),
        (
            {"ada_target": 0.6, "ada_schedule": Linear(length=9)},
            "it must be constant where ada_target is set",
        ),
    ],
)
def test_strengths_out_of_range(change, message):
    with pytest.raises(UserError, match=message):
        GANConfig(**{"ada": {"blit": 1.0}, **change})
