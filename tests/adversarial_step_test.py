"""The benchmark of the step: which cases it makes, and what a record holds."""

import dataclasses
import json

import jax
import pytest

from benchmarks import adversarial_step
from benchmarks.adversarial_step import Case, make_cases, measure, with_penalties
from benchmarks.ceilings import Ceilings
from benchmarks.energy import Meter
from genjax.config import MLP
from genjax.data.schema import image_schema
from genjax.families.gan.penalties import PENALTIES
from genjax.presets import preset

CEILINGS = Ceilings(1e12, 1e11)


@pytest.fixture
def fast(monkeypatch):
    """Without measuring the machine."""
    monkeypatch.setattr(adversarial_step, "measure_ceilings", lambda dtype: CEILINGS)
    monkeypatch.setattr(adversarial_step, "joules_of_a_call", lambda meter, call: 32.0)


def test_cases_are_all_combinations():
    cases = list(
        make_cases(
            ["dcgan-digits", "vae-digits"],
            batches=[8, 16],
            modes=["jit", "pmap"],
            dtypes=["float32", "bfloat16"],
            steps=[1, 4],
            resolution=16,
            parts=True,
            penalties=False,
        )
    )
    assert len(cases) == (3 + 1) * 16
    assert {case.part for case in cases} == {"step", "discriminator", "generator"}
    assert {case.schema.fields["image"].shape for case in cases} == {(16, 16, 1)}
    found = {
        (x["preset"], x["mode"], x["dtype"], x["batch"], x["steps_per_call"])
        for x in (case.describe() for case in cases)
    }
    assert len(found) == 32


def test_penalties_that_differentiate_get_a_baseline_without_batch_norm():
    found = [
        (model.discriminator.norm, *model.penalties)
        for model in (x.model for x in with_penalties(preset("dcgan-digits")))
    ]
    fit = {name: x for name, x in PENALTIES.items() if not x.conditional}
    kept = [("batch", name) for name, x in fit.items() if not x.differentiates]
    changed = [("none", name) for name, x in fit.items() if x.differentiates]
    assert found == [("batch",), *kept, ("none",), *changed]
    norms = [x.model.discriminator.norm for x in with_penalties(preset("wgan-gp-mnist"))]
    assert norms == ["none"] * (1 + len(fit))
    given = [x.model.penalties for x in with_penalties(preset("cgan-digits"))]
    assert {"mismatch": (1.0, 1)} in given
    assert not list(with_penalties(preset("vae-mnist")))


@pytest.mark.parametrize(
    ("mode", "steps", "part"),
    [("jit", 2, "step"), ("jit", 2, "discriminator"), ("mesh", 1, "step"), ("pmap", 1, "step")],
)
def test_a_record(small_experiment, fast, mode, steps, part):
    stock = MLP(width=8)
    model = dataclasses.replace(small_experiment.model, generator=stock, discriminator=stock)
    experiment = dataclasses.replace(small_experiment, model=model)
    case = Case(experiment, image_schema((8, 8, 1), 10), mode, steps, part)
    record = json.loads(json.dumps(measure(case, 2, Meter(float, "a meter"))))
    devices = 1 if mode == "jit" else jax.device_count()
    assert (record["devices"], record["mode"], record["part"]) == (devices, mode, part)
    assert record["steps_per_call"] == steps
    assert len(record["seconds"]) == 2
    assert record["images_per_second"] == pytest.approx(16 / (record["ms"] / 1e3))
    assert record["share"] == pytest.approx(record["flops"] / (record["ms"] / 1e3) / 1e12)
    assert record["first_s"] > record["compile_s"] > 0
    assert (record["memory_kind"], record["memory_bytes"] > 0) == ("planned", True)
    # Half of the calls' energy is a step's where a call has two, for 16 images.
    assert record["joules_per_1000_images"] == 1000 * 32 / steps / 16
    assert record["compiler_flops"] > 0
    assert record["compiler_bytes"] > 0
