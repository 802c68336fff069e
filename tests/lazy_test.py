"""Updates of their own for lazy penalties, against PyTorch's Adam on StyleGAN2's phases."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from specs import image_spec

from genjax.config import MLP, SGD, Adam
from genjax.core.parallel import compile_step, mapped_axis, step_once
from genjax.core.rng import latents, stream
from genjax.errors import UserError
from genjax.families.gan.algorithm import make_gan
from genjax.families.gan.composition import make_networks

KEY = jax.random.key(4)
BATCH, IMAGE = 6, (4, 4, 1)
IMAGES = np.random.default_rng(0).uniform(-1, 1, (BATCH, *IMAGE)).astype(np.float32)
INTERVALS = {"r1": 2, "r2": 3}
GAMMA = 3.0


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


@pytest.fixture
def tiny(small_gan):
    network = MLP(width=6, depth=1, norm="none")
    return dataclasses.replace(
        small_gan,
        generator=network,
        generator_optimizer=SGD(learning_rate=0.1),
        discriminator=network,
        discriminator_optimizer=Adam(learning_rate=0.02, b1=0.5, b2=0.9),
        penalties={name: (GAMMA, interval) for name, interval in INTERVALS.items()},
        lazy_updates=True,
        ema_decay=None,
    )


class Theirs:
    """D and its optimizer in PyTorch, float64."""

    def __init__(self, torch, params, adam):
        self.torch = torch
        self.params = jax.tree.map(
            lambda p: torch.tensor(np.float64(p), requires_grad=True), params
        )
        # Of 1 + 1/2 + 1/3 updates in a batch, 1 is the main one.
        share = 1 / (1 + sum(1 / interval for interval in INTERVALS.values()))
        self.optimizer = torch.optim.Adam(
            jax.tree.leaves(self.params),
            lr=adam.learning_rate * share,
            betas=(adam.b1**share, adam.b2**share),
        )

    def logits(self, images):
        dense, logit = self.params["encoder"]["Dense_0"], self.params["logit"]
        x = images.reshape(len(images), -1) @ dense["kernel"] + dense["bias"]
        x = self.torch.nn.functional.leaky_relu(x, 0.2)
        return (x @ logit["kernel"] + logit["bias"])[:, 0]

    def descend(self, loss):
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def main(self, real, fake):
        softplus = self.torch.nn.functional.softplus
        self.descend(softplus(-self.logits(real)).mean() + softplus(self.logits(fake)).mean())

    def penalise(self, images, interval):
        images = images.clone().requires_grad_(True)
        [slope] = self.torch.autograd.grad(self.logits(images).sum(), images, create_graph=True)
        penalty = slope.square().sum((1, 2, 3)).mean() / 2
        # The bias of the logit has the gradient 0 here, not none.
        self.descend(interval * GAMMA * penalty + 0 * self.logits(images).sum())
        return float(penalty.detach())


def test_five_steps_of_phases(torch, tiny):
    """Karras et al. 2020 (StyleGAN2), appendix B, as its code has it."""
    spec = image_spec(BATCH, IMAGE)
    algorithm = make_gan(tiny, spec)
    generator, _ = make_networks(tiny, spec, None)
    state, step = jax.jit(algorithm.init)(KEY), jax.jit(algorithm.step)
    theirs = Theirs(torch, state.discriminator.params, tiny.discriminator_optimizer)
    latest, counts = {}, []
    for number in range(5):
        key = stream(KEY, "discriminator update", number, 0)

        def made(key, state=state):
            z = latents(stream(key, "latent"), jnp.arange(BATCH), tiny.latent)
            images = generator.apply({"params": state.generator.params}, z, True)
            return torch.tensor(np.float64(images))

        real, fake = torch.tensor(np.float64(IMAGES)), made(key)
        theirs.main(real, fake)
        for name, interval in INTERVALS.items():
            if number % interval == 0:
                images = real if name == "r1" else made(stream(key, "lazy r2"))
                latest[name] = theirs.penalise(images, interval)
        state, metrics = step(state, {"image": jnp.asarray(IMAGES)})
        for name, value in latest.items():
            np.testing.assert_allclose(metrics[f"discriminator/{name}"], value, rtol=1e-4)
        wanted = jax.tree.map(lambda p: p.detach().numpy(), theirs.params)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            state.discriminator.params,
            wanted,
        )
        counts.append(int(state.discriminator.opt[0].count))
    assert counts == [3, 4, 6, 8, 10]


def test_penalties_of_interval_1_stay_in_the_loss(tiny):
    config = dataclasses.replace(tiny, penalties={"r1": (GAMMA, 1)})
    found = []
    for lazy in (False, True):
        algorithm = make_gan(
            dataclasses.replace(config, lazy_updates=lazy), image_spec(BATCH, IMAGE)
        )
        state = jax.jit(algorithm.init)(KEY)
        found.append(jax.jit(algorithm.step)(state, {"image": jnp.asarray(IMAGES)})[0])
    for a, b in zip(*(jax.tree.leaves(state.discriminator) for state in found), strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_adam_has_constants_to_correct(tiny):
    with pytest.raises(UserError, match=r"lazy_updates is True; .* D's optimizer is not adam"):
        dataclasses.replace(tiny, discriminator_optimizer=SGD())
    with pytest.raises(UserError, match=r"lazy_updates is True; .* G's optimizer is not adam"):
        dataclasses.replace(tiny, generator_penalties={"path_length": (2.0, 4)})


@pytest.mark.full
@pytest.mark.parametrize(("mode", "parts"), [("jit", 2), ("pmap", 1)])
def test_parts_and_devices_agree(tiny, mode, parts):
    data = {"image": np.tile(IMAGES, (2, 1, 1, 1))[:8]}
    found = []
    for own, count, accumulate in (("jit", 1, 1), (mode, 1 if mode == "jit" else 4, parts)):
        algorithm = make_gan(tiny, image_spec(8, IMAGE), mapped_axis(own), accumulate)
        compiled = compile_step(algorithm, own, jax.devices()[:count])
        state = compiled.init(KEY)
        for _ in range(2):
            state, metrics = step_once(compiled, state, data)
        found.append(jax.device_get((state.discriminator, state.aux, metrics)))
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
