"""The PyTorch step that benchmarks compare with does what ours does, from the same weights."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from specs import image_spec

from genjax.config import DCGAN, MLP, SGD, SNGAN, Adam, GANConfig, Linear
from genjax.domains.image import scale_images
from genjax.errors import UserError
from genjax.families.gan.algorithm import make_gan

torch = pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")

from benchmarks.peers import compare  # noqa: E402
from benchmarks.peers.checks import (  # noqa: E402
    Start,
    differences,
    draws,
    our_values,
    peer_values,
)
from benchmarks.peers.torch_step import require_supported  # noqa: E402
from benchmarks.peers.torch_weights import convert_buffers, convert_params, mirror  # noqa: E402
from benchmarks.timing import alternate, ratios  # noqa: E402

BATCH = 4
RATE = 2e-4
CLOSE = {"rtol": 0, "atol": 1e-4}
CPU = torch.device("cpu")
FALLING = Adam(schedule=Linear(length=4))
PLAIN_DCGAN = GANConfig(
    generator=DCGAN(width=8),
    discriminator=DCGAN(width=8),
    generator_optimizer=FALLING,
    discriminator_optimizer=FALLING,
    latent=8,
    discriminator_updates=2,
)
PLAIN_SNGAN = GANConfig(
    generator=SNGAN(width=8),
    discriminator=SNGAN(width=8, norm="none", spectral_norm=True),
    generator_optimizer=Adam(learning_rate=2e-4, b1=0.0, b2=0.9),
    discriminator_optimizer=Adam(learning_rate=2e-4, b1=0.0, b2=0.9),
    loss="hinge",
    latent=8,
)


def start_from(config, image):
    """Our algorithm, its state with weights of which none is at a special value, and a copy."""
    algorithm = make_gan(config, image_spec(BATCH, image))
    state = jax.jit(algorithm.init)(jax.random.key(0))
    rng = np.random.default_rng(0)

    def move(player):
        params = jax.tree.map(
            lambda p: p + np.float32(0.05) * rng.normal(size=p.shape).astype(np.float32),
            player.params,
        )
        return dataclasses.replace(player, params=params)

    state = dataclasses.replace(
        state, generator=move(state.generator), discriminator=move(state.discriminator)
    )
    return algorithm, state, Start.of(state, image)


@pytest.mark.full
@pytest.mark.parametrize(
    ("config", "image"), [(PLAIN_DCGAN, (32, 32, 3)), (PLAIN_SNGAN, (28, 28, 1))]
)
def test_networks_and_gradients_equal_ours(raw_batch, config, image):
    _, _, start = start_from(config, image)
    real = raw_batch(0, BATCH, image)["image"]
    z = np.random.default_rng(1).normal(size=(BATCH, config.latent)).astype(np.float32)
    ours = our_values(config, start, real, z)
    for mode in ("eager", "eager channels_last"):
        step = start.step(config, False, mode, CPU)
        apart = differences(ours, peer_values(step, real, z), step)
        assert max(apart.values()) < 1e-4, (mode, apart)


@pytest.mark.parametrize(
    ("config", "image"),
    [(PLAIN_DCGAN, (28, 28, 1)), (PLAIN_SNGAN, (28, 28, 1))],
    ids=["dcgan", "sngan"],
)
def test_a_step_equals_ours(raw_batch, config, image):
    algorithm, state, start = start_from(config, image)
    real = raw_batch(0, BATCH * config.discriminator_updates, image)["image"]
    new, metrics = jax.jit(algorithm.step)(state, {"image": scale_images(jnp.asarray(real))})
    step = start.step(config, False, "eager", CPU)
    zs = draws(config, state.key, BATCH)
    losses = step.run(step.place(mirror(real)), lambda: torch.from_numpy(next(zs)))
    for loss, name in zip(losses, ("discriminator", "generator"), strict=True):
        np.testing.assert_allclose(loss, metrics[f"{name}/loss"], rtol=1e-5)
    for player, ours in ((step.generator, new.generator), (step.discriminator, new.discriminator)):
        network, moments = player.network, ours.opt[0]
        params, first, second = (
            convert_params(network, x) for x in (ours.params, moments.mu, moments.nu)
        )
        scale = max(x.abs().max() for x in first.values())
        for name, parameter in network.named_parameters():
            kept = player.optimizer.state[parameter]
            torch.testing.assert_close(kept["exp_avg"] / scale, first[name] / scale, **CLOSE)
            squares = kept["exp_avg_sq"] / scale**2, second[name] / scale**2
            torch.testing.assert_close(*squares, **CLOSE)
            # Adam scales even a gradient that is 0 up to rounding to a whole step.
            moved = (second[name].sqrt() > 1e-5 * scale).float()
            torch.testing.assert_close(
                moved * parameter.detach(), moved * params[name], rtol=0, atol=RATE / 100
            )
        vectors = {
            name: x
            for name, x in convert_buffers(network, ours.variables).items()
            if name.endswith((".u", ".v"))
        }
        assert bool(vectors) == network.spectral_norm
        for name, vector in vectors.items():
            torch.testing.assert_close(network.get_buffer(name), vector, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "wasserstein"},
        {"penalties": {"r1": (1.0, 1)}},
        {"generator": MLP()},
        {"discriminator_conditioning": "projection"},
        {"discriminator_optimizer": SGD()},
    ],
)
def test_other_models_are_refused(changes):
    require_supported(PLAIN_DCGAN)
    require_supported(PLAIN_SNGAN)
    with pytest.raises(UserError, match="the peer is only written for"):
        require_supported(dataclasses.replace(PLAIN_DCGAN, **changes))


def test_sides_take_turns():
    calls = []
    sides = [lambda name=name: calls.append(name) for name in "abc"]
    seconds = alternate(sides, 4)
    assert [len(x) for x in seconds] == [4, 4, 4]
    assert "".join(calls) == "abccbabcaacb"
    assert ratios([1.0, 2.0], [2.0, 1.0]) == [2.0, 0.5]


def test_a_mode_that_does_not_run_costs_no_other(monkeypatch):
    """As where a compiler is missing."""

    class Requests:
        def __init__(self):
            self.asked = ["compile", "eager", "eager", None]
            self.sent = []

        def recv(self):
            return self.asked.pop(0)

        def send(self, answer):
            self.sent.append(answer)

    def make(self, config, flip, mode, device):
        if mode == "compile":
            raise RuntimeError("no C++ compiler\nis installed")
        return mode

    monkeypatch.setattr(Start, "step", make)
    monkeypatch.setattr(
        compare, "first_of_peer", lambda step, *rest: (1.5, (0.5, 0.25), lambda: None)
    )
    setting = compare.make_setting("dcgan-digits", None, None, "float32", CPU)
    requests = Requests()
    compare.serve(requests, setting, Start(None, None, (8, 8, 1)), None, [])
    why, first, turn = requests.sent
    assert why == "RuntimeError: no C++ compiler is installed"
    assert first == [1.5, (0.5, 0.25)]
    assert turn >= 0
