"""Weights of Stable Diffusion's autoencoder under diffusers' names, on random ones."""

import jax.numpy as jnp
import numpy as np
import pytest
from in_process import genjax, refusal
from official_networks import Weights
from safetensors.numpy import load_file, save_file

from genjax.families.vae.algorithm import make_autoencoder
from genjax.families.vae.likelihoods import LIKELIHOODS
from genjax.run.opening import open_run

WIDTHS, BLOCKS, CHANNELS, PIXELS = (32, 32, 64), 1, 2, 3
FORMER = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def autoencoder(seed):
    """A random state dict, in the order of the layers."""
    made = Weights(seed)

    def conv(name, outputs, inputs, side=3):
        made.layer(name, outputs, inputs, side, side, bias=True, spectral=False)

    def norm(name, channels):
        made.add(f"{name}.weight", channels, least=0.5)
        made.add(f"{name}.bias", channels)

    def block(name, inputs, outputs):
        norm(f"{name}.norm1", inputs)
        conv(f"{name}.conv1", outputs, inputs)
        norm(f"{name}.norm2", outputs)
        conv(f"{name}.conv2", outputs, outputs)
        if inputs != outputs:
            conv(f"{name}.conv_shortcut", outputs, inputs, 1)

    def middle(name, width):
        block(f"{name}.mid_block.resnets.0", width, width)
        block(f"{name}.mid_block.resnets.1", width, width)
        norm(f"{name}.mid_block.attentions.0.group_norm", width)
        for part in FORMER:
            layer = f"{name}.mid_block.attentions.0.{part}"
            made.layer(layer, width, width, bias=True, spectral=False)

    conv("encoder.conv_in", WIDTHS[0], PIXELS)
    width = WIDTHS[0]
    for stage, outputs in enumerate(WIDTHS):
        for number in range(BLOCKS):
            block(f"encoder.down_blocks.{stage}.resnets.{number}", width, outputs)
            width = outputs
        if stage < len(WIDTHS) - 1:
            conv(f"encoder.down_blocks.{stage}.downsamplers.0.conv", width, width)
    middle("encoder", width)
    norm("encoder.conv_norm_out", width)
    conv("encoder.conv_out", 2 * CHANNELS, width)
    conv("quant_conv", 2 * CHANNELS, 2 * CHANNELS, 1)
    conv("post_quant_conv", CHANNELS, CHANNELS, 1)
    conv("decoder.conv_in", width, CHANNELS)
    middle("decoder", width)
    for stage, outputs in enumerate(WIDTHS[::-1]):
        for number in range(BLOCKS + 1):
            block(f"decoder.up_blocks.{stage}.resnets.{number}", width, outputs)
            width = outputs
        if stage < len(WIDTHS) - 1:
            conv(f"decoder.up_blocks.{stage}.upsamplers.0.conv", width, width)
    norm("decoder.conv_norm_out", width)
    conv("decoder.conv_out", PIXELS, width)
    return made.tensors


class Torch:
    """The halves in PyTorch, written from the paper's code and diffusers' names."""

    def __init__(self, torch, tensors):
        self.torch, self.f = torch, torch.nn.functional
        self.tensors = {name: torch.tensor(value) for name, value in tensors.items()}

    def of(self, name):
        return self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]

    def conv(self, name, x, **options):
        side = self.tensors[f"{name}.weight"].shape[-1]
        options = {"padding": side // 2, **options}
        return self.f.conv2d(x, *self.of(name), **options)

    def norm(self, name, x):
        return self.f.group_norm(x, 32, *self.of(name), eps=1e-6)

    def act(self, name, x):
        return self.f.silu(self.norm(name, x))

    def block(self, name, x):
        y = self.conv(f"{name}.conv1", self.act(f"{name}.norm1", x))
        y = self.conv(f"{name}.conv2", self.act(f"{name}.norm2", y))
        if f"{name}.conv_shortcut.weight" in self.tensors:
            x = self.conv(f"{name}.conv_shortcut", x)
        return x + y

    def middle(self, half, x):
        x = self.block(f"{half}.mid_block.resnets.0", x)
        name = f"{half}.mid_block.attentions.0"
        y = self.norm(f"{name}.group_norm", x).flatten(2).mT
        q, k, v = (self.f.linear(y, *self.of(f"{name}.{part}")) for part in list(FORMER)[:3])
        seen = self.torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v
        seen = self.f.linear(seen, *self.of(f"{name}.to_out.0"))
        return self.block(f"{half}.mid_block.resnets.1", x + seen.mT.reshape(x.shape))

    def encode(self, x):
        x = self.conv("encoder.conv_in", x)
        for stage in range(len(WIDTHS)):
            for number in range(BLOCKS):
                x = self.block(f"encoder.down_blocks.{stage}.resnets.{number}", x)
            if stage < len(WIDTHS) - 1:
                name = f"encoder.down_blocks.{stage}.downsamplers.0.conv"
                x = self.conv(name, self.f.pad(x, (0, 1, 0, 1)), stride=2, padding=0)
        x = self.act("encoder.conv_norm_out", self.middle("encoder", x))
        mean, log_variance = self.conv("quant_conv", self.conv("encoder.conv_out", x)).chunk(2, 1)
        return mean, log_variance.clamp(-30, 20)

    def decode(self, z):
        x = self.conv("decoder.conv_in", self.conv("post_quant_conv", z))
        x = self.middle("decoder", x)
        for stage in range(len(WIDTHS)):
            for number in range(BLOCKS + 1):
                x = self.block(f"decoder.up_blocks.{stage}.resnets.{number}", x)
            if stage < len(WIDTHS) - 1:
                x = self.f.interpolate(x, scale_factor=2, mode="nearest")
                x = self.conv(f"decoder.up_blocks.{stage}.upsamplers.0.conv", x)
        return self.conv("decoder.conv_out", self.act("decoder.conv_norm_out", x))


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


@pytest.mark.full
@pytest.mark.parametrize("former", [False, True])
def test_halves_are_those_of_the_official_autoencoder(torch, former, tmp_path):
    tensors = autoencoder(0)
    named = dict(tensors)
    if former:
        for name in tensors:
            for today, before in FORMER.items():
                if f".{today}." in name:
                    named[name.replace(today, before)] = named.pop(name)
    file, out = tmp_path / "vae.safetensors", tmp_path / "run"
    save_file(named, file)
    flags = ("--from", file, "--resolution", 8, "--out", out)
    outcome = genjax("weights", "import", "kl", *flags)
    assert outcome.status == 0, outcome
    run = open_run(out, "last")
    config, spec = run.experiment.model, run.algorithm.spec
    assert config.encoder.widths == (1, 1, 2)
    network = make_autoencoder(config, spec, None, LIKELIHOODS["gaussian"])
    params = {"params": run.state.autoencoder.params}
    rng, official = np.random.default_rng(1), Torch(torch, tensors)
    x = np.float32(rng.uniform(-1, 1, (2, 8, 8, 3)))
    ours = network.apply(params, jnp.asarray(x), method="encode")
    theirs = official.encode(torch.tensor(x).permute(0, 3, 1, 2))
    for own, other in zip(ours, theirs, strict=True):
        other = other.permute(0, 2, 3, 1).reshape(2, -1).numpy()
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())
    z = np.float32(rng.normal(size=(2, 2, 2, CHANNELS)))
    ours = network.apply(params, jnp.asarray(z.reshape(2, -1)), method="decode")[0]
    theirs = official.decode(torch.tensor(z).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
    back = tmp_path / "back.safetensors"
    assert genjax("weights", "export", "kl", out, "--out", back).status == 0
    written = load_file(back)
    assert written.keys() == tensors.keys()
    assert all(np.array_equal(written[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--data", "nowhere"), "of which images they are, and of nowhere it isn't known"),
        (("--resolution", 6), "can't halve images of 6 pixels 2 times"),
        (("--preset", "dcgan-digits"), "is of family gan; name a VAE's"),
        (("--heads", 2), "--heads is 2, which kl does not take; leave it out"),
    ],
)
def test_what_does_not_fit_is_refused(flags, message, tmp_path):
    file = tmp_path / "vae.safetensors"
    save_file(autoencoder(0), file)
    assert message in refusal("weights", "import", "kl", "--from", file, *flags, "--out", "a")
