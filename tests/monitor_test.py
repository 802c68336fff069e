"""When a run counts as lost: not finite, or collapsed."""

import dataclasses

import pytest

from genjax.config import MonitorConfig, VAEConfig
from genjax.families.gan.signs import adversarial_signs
from genjax.presets import preset
from genjax.run.monitor import Diverged, Monitor, check_finite, slow_average

CONFIG = MonitorConfig(lines=3, accuracy=1.0, logit_gap=50.0, diversity=0.1)


def line(accuracy=0.8, gap=1.0):
    return {
        "discriminator/accuracy": accuracy,
        "discriminator/real_logit": gap / 2,
        "discriminator/fake_logit": -gap / 2,
    }


def follow(lines, config=CONFIG):
    monitor = Monitor(config, adversarial_signs(config))
    return monitor, [monitor.observe(metrics) for metrics in lines]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (line(accuracy=1.0), "preferred 100% of the real images on 3 logged lines"),
        (line(gap=60.0), "at least 50 apart on 3 logged lines, now 60"),
    ],
)
def test_a_sign_needs_several_lines_in_a_row(bad, words):
    _, found = follow([bad, bad, line(), bad, bad])
    assert found == [None] * 5
    monitor, found = follow([bad, bad, bad, bad])
    assert found[:2] == [None, None]
    assert words in found[2]
    assert found[3] is None, "the same sign is told once"
    assert not monitor.healthy
    assert monitor.observe(line()) is None
    assert monitor.healthy
    assert [bool(monitor.observe(bad)) for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "the discriminator's gradient is 0, so it learns nothing"),
        (2e6, "the discriminator's gradient has a norm of 2e+06"),
    ],
)
def test_gradients_that_vanish_or_explode_show_on_one_line(value, words):
    usual = {"discriminator/gradient_norm": 0.5, "generator/gradient_norm": 9e5}
    bad = {**usual, "discriminator/gradient_norm": value}
    monitor, found = follow([usual, bad, bad, usual, bad])
    assert found == [None, words, None, None, words]
    assert not monitor.healthy


def test_two_signs_are_counted_apart():
    both = line(accuracy=1.0, gap=60.0)
    _, found = follow([line(gap=60.0), both, both, both])
    assert "apart" in found[2]
    assert "preferred" not in found[2]
    assert "preferred" in found[3]
    assert "apart" not in found[3]
    _, found = follow([both, both, both])
    assert "apart" in found[2]
    assert "preferred" in found[2]


def test_samples_that_are_alike_show_at_the_second_evaluation():
    values = [0.1, 0.09, 0.2, 0.08, 0.07]
    _, found = follow([{"evaluation/diversity": value} for value in values])
    assert found[:4] == [None] * 4
    assert "0.07 of the variance of real examples, less than 0.1" in found[4]


def test_lines_without_the_metrics_change_nothing():
    bad = line(accuracy=1.0)
    _, found = follow([bad, {"evaluation/diversity": 1.0}, bad, {"autoencoder/loss": 3.0}, bad])
    assert [bool(words) for words in found] == [False, False, False, False, True]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_metric_that_is_not_finite(value):
    check_finite(3, {"generator/loss": 1.0})
    with pytest.raises(Diverged, match=f"step 3: the generator's loss is {value}") as info:
        check_finite(3, {"discriminator/loss": 1.0, "generator/loss": value})
    assert not info.value.collapsed


@pytest.mark.parametrize(
    ("steps", "decay", "ramp", "slow"),
    [
        (2000, None, None, False),
        (2000, 0.0, None, False),
        (2000, 0.999, None, True),
        # Its half-life is 692.8 steps.
        (6927, 0.999, None, True),
        (6929, 0.999, None, False),
        (2000, 0.999, 0.05, False),
        (2000, 0.999, 0.3, True),
        (2000, 0.993, 0.3, False),
    ],
)
def test_an_average_that_outlasts_the_run_is_told(steps, decay, ramp, slow):
    experiment = preset("dcgan-digits")
    model = dataclasses.replace(experiment.model, ema_decay=decay, ema_ramp=ramp)
    said = slow_average(dataclasses.replace(experiment, steps=steps, model=model))
    assert bool(said) == slow
    if slow:
        assert f"a half-life of 693 steps, long against {steps:,} steps" in said
        shorter = float(said.partition("--model.ema-decay ")[2].partition(",")[0])
        followed = dataclasses.replace(model, ema_decay=shorter)
        assert not slow_average(dataclasses.replace(experiment, steps=steps, model=followed))


def test_a_family_without_a_ramp_is_told_of_none():
    experiment = dataclasses.replace(preset("vae-mnist"), model=VAEConfig(ema_decay=0.9999))
    assert "ema-ramp" not in slow_average(experiment)
