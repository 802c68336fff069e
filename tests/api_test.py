"""The five names of the package do what the commands do."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

import genjax
from genjax.errors import UserError
from genjax.run.sampling import sample_run


@pytest.fixture(scope="module")
def run(dense_experiment, tmp_path_factory):
    model = dataclasses.replace(
        dense_experiment.model,
        generator_conditioning="concat",
        discriminator_conditioning="projection",
    )
    experiment = dataclasses.replace(dense_experiment, model=model, steps=2)
    directory = tmp_path_factory.mktemp("api") / "run"
    return directory, genjax.train(experiment, directory, quiet=True)


def test_a_run_is_trained_loaded_and_sampled(run):
    directory, trained = run
    assert trained.step == 2
    loaded = genjax.load(str(directory))
    threes = loaded.sample(5, label=3)
    assert threes.shape == (5, 8, 8, 1)
    assert threes.dtype == np.uint8
    np.testing.assert_array_equal(threes, sample_run(directory, 0, "last", 5, label=3).samples)
    np.testing.assert_array_equal(threes, genjax.sample(directory, 5, label=3))
    np.testing.assert_array_equal(loaded.sample(7)[:3], loaded.sample(3))
    assert not np.array_equal(loaded.sample(3, seed=1), loaded.sample(3))


def test_a_run_goes_on_and_is_scored(run, digits_classifier):
    directory, trained = run
    longer = dataclasses.replace(trained.experiment, steps=4)
    assert genjax.train(longer, directory, resume=True, quiet=True).step == 4
    found = genjax.evaluate(directory, ["fid"], samples=40)
    assert found.keys() == {"fid"}
    assert found["fid"] > 0


def test_mistakes_are_named(run):
    directory, trained = run
    with pytest.raises(UserError, match="classes of this model: 0 to 9"):
        trained.sample(1, label=10)
    with pytest.raises(
        UserError, match="have no option 'temperature'; choices: psi, cutoff, noise"
    ):
        genjax.load(directory, temperature=0.5)
    with pytest.raises(UserError, match="did you mean 'dcgan-mnist'"):
        genjax.preset("dcgan-mnits")
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        genjax.lode  # noqa: B018


def test_importing_the_package_is_light():
    code = "import sys, genjax; print('jax' in sys.modules, genjax.__all__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split(maxsplit=1)[0] == "False", result.stderr
    for name in ("evaluate", "load", "preset", "sample", "train"):
        assert name in result.stdout
