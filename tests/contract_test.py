"""What every preset must do, on one device and on several: build, step twice, sample, resume.

Its first step must give the numbers that are stored in tests/golden.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import check_golden, step_numbers
from readers import random_reader

from genjax.config import (
    R3GAN,
    Decoder,
    Denoiser,
    DiT,
    GANConfig,
    Network,
    Optimizer,
    Prior,
    ResNet,
    SequenceTower,
    StyleGAN2,
    TextTower,
    UNet,
)
from genjax.core.frozen import NO_NETWORKS, with_frozen
from genjax.core.parallel import compile_step, copy_to, mapped_axis, step_once
from genjax.core.players import players
from genjax.data.memory import in_memory
from genjax.data.noise import noise
from genjax.data.schema import configured, resized
from genjax.data.sources import known_schema
from genjax.families.registry import make_algorithm, make_spec
from genjax.presets import DEFAULT, PRESETS
from genjax.run import checkpoint
from genjax.run.conditions import conditions_in_turn, conditions_of_rows, examples_alone

# The bias of a logit has no gradient where a loss sees only differences of logits.
STILL = {
    loss: {"discriminator": ["logit/bias"]}
    for loss in ("wasserstein", "relativistic", "relativistic_average")
}

# A side of images; larger ones have the same layers, but more of them.
MOST_PIXELS = 32

# One of each family, which is enough for a quick look.
ONE_EACH = ("dcgan-digits", "vae-digits", "vae-gan-mnist", "gpt-shakespeare", "diffusion-digits")


def leaf_at(tree, path):
    for key in path:
        tree = tree[key.key]
    return tree


def expected_still(model, player, names):
    """Parameters that two steps do not move."""
    if isinstance(getattr(model, "network", None), DiT):
        # Its blocks are the identity, and know of no time, until their gates have moved.
        first = ("patches", "last")
        return [name for name in names if "modulation" not in name and not name.startswith(first)]
    known = STILL.get(getattr(model, "loss", ""), {}).get(player, [])
    return [name for name in known if name in names]


def narrow(model):
    """The same model with thin networks and at most two updates of D, which compile faster.

    Its steps are not so small at first that float32 has no room for them.
    """
    fields = {}
    for name, part in vars(model).items():
        if isinstance(part, R3GAN):
            # Two groups.
            fields[name] = dataclasses.replace(part, widths=(part.group,), blocks=(1,))
        elif isinstance(part, StyleGAN2):
            fields[name] = dataclasses.replace(part, channel_max=8, style=8)
        elif isinstance(part, UNet):
            fields[name] = dataclasses.replace(part, width=8, blocks=1)
        elif isinstance(part, ResNet):
            fields[name] = dataclasses.replace(part, widths=(8, 8))
        elif isinstance(part, DiT | Prior | SequenceTower | TextTower):
            fields[name] = dataclasses.replace(part, width=8, depth=1, heads=2)
        elif isinstance(part, Network | Decoder | Denoiser) and hasattr(part, "width"):
            fields[name] = dataclasses.replace(part, width=8)
        elif isinstance(part, Optimizer) and part.schedule.warmup > 10_000:
            schedule = dataclasses.replace(part.schedule, warmup=0)
            fields[name] = dataclasses.replace(part, schedule=schedule)
    if getattr(model, "discriminator_updates", 1) > 2:
        fields["discriminator_updates"] = 2
    return dataclasses.replace(model, **fields)


def completed(experiment, schema):
    """A preset with the run that it leaves to be named, if any; and that run's networks."""
    needed = isinstance(experiment.model, GANConfig) and "caption" in (experiment.data.given or ())
    if not needed:
        return experiment, NO_NETWORKS
    model = dataclasses.replace(experiment.model, text_encoder="a run")
    networks = random_reader(make_spec(experiment, schema))
    return dataclasses.replace(experiment, model=model), networks


def cases():
    """Every preset on one device; every model under pmap; mesh, whose program is jit's, once."""
    found, models = [], set()
    for name, experiment in PRESETS.items():
        found.append((name, "jit"))
        model = dataclasses.asdict(experiment.model)
        # Step sizes do not change how a model is split over devices.
        key = repr({field: value for field, value in model.items() if "optimizer" not in field})
        if key not in models:
            found.append((name, "pmap"))
        models.add(key)
    quick = {(name, "jit") for name in ONE_EACH} | {(DEFAULT, "pmap"), (DEFAULT, "mesh")}
    return [
        pytest.param(*case, marks=pytest.mark.smoke if case in quick else pytest.mark.full)
        for case in [*found, (DEFAULT, "mesh")]
    ]


@pytest.mark.parametrize(("name", "mode"), cases())
def test_preset(name, mode, tmp_path):
    experiment = PRESETS[name]
    experiment = dataclasses.replace(experiment, batch_size=8, model=narrow(experiment.model))
    schema = known_schema(experiment.data.name, experiment.data.length)
    schema = configured(schema, dataclasses.replace(experiment.data, resolution=None))
    if schema.domain == "image":
        side = experiment.data.resolution or schema.fields["image"].shape[0]
        schema = resized(schema, min(side, MOST_PIXELS))
    experiment, networks = completed(experiment, schema)
    algorithm = make_algorithm(experiment, schema, mapped_axis(mode), networks=networks)
    devices = jax.devices()[:1] if mode == "jit" else jax.devices()[:4]
    compiled = compile_step(algorithm, mode, devices)
    state = compiled.init(jax.random.key(experiment.seed))
    before = jax.device_get(players(state))

    def step(state, number):
        batch = noise(schema, algorithm.examples, number)
        return step_once(compiled, state, batch)

    state, metrics = step(state, 0)
    if mode == "jit":
        now = jax.device_get(players(state))
        check_golden(name, step_numbers(metrics, before, now))
    with checkpoint.open_checkpoints(tmp_path, 1) as manager:
        checkpoint.save(manager, 1, state, score=0.0)
    state, metrics = step(state, 1)
    assert int(state.step) == 2
    assert all(np.isfinite(value) for value in metrics.values())
    assert all("/" in name and value.shape == () for name, value in metrics.items())
    after = jax.device_get(players(state))
    for player, old in before.items():
        leaves = {
            jax.tree_util.keystr(path, simple=True, separator="/"): np.array_equal(
                a, leaf_at(after[player].params, path)
            )
            for path, a in jax.tree_util.tree_leaves_with_path(old.params)
        }
        still = [name for name, same in leaves.items() if same]
        assert still == expected_still(experiment.model, player, leaves)

    with checkpoint.open_checkpoints(tmp_path, 1) as manager:
        key = jax.random.key(1)
        resumed = checkpoint.restore(manager, 1, algorithm.init, key, compiled.sharding)
    resumed = with_frozen(resumed, networks, partial(copy_to, compiled.sharding))
    resumed, _ = step(resumed, 1)
    raw_key = jax.random.key_data
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(resumed), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = raw_key(a), raw_key(b)
        np.testing.assert_array_equal(a, b)

    if mode != "jit" or algorithm.sample is None:
        return
    if examples_alone(algorithm.spec):
        source = in_memory("x", "train", schema, noise(schema, 3))
        condition = conditions_of_rows(algorithm.spec, source, np.arange(3))
    else:
        condition = conditions_in_turn(algorithm.spec, 3)
    images = jax.jit(algorithm.sample)(state, key, jnp.arange(3), condition)
    assert images.shape == (3, *algorithm.spec.shape)
    assert images.dtype == algorithm.spec.fields[algorithm.spec.target].dtype
    if images.dtype == jnp.float32 and schema.domain != "vectors":
        assert float(jnp.abs(images).max()) <= 1
    assert len({image.tobytes() for image in np.asarray(images)}) == 3
