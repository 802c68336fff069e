"""The names of latent diffusion's autoencoder in diffusers, AutoencoderKL."""

from genjax.config import AutoencoderKL
from genjax.errors import UserError
from genjax.official.shapes import Inferred, Shapes
from genjax.official.tensors import CONV, DENSE, Layout, Place, Table, layer, norm, then

_GROUPS = 32
"""Of each norm in diffusers, by default; no tensor says it."""
_POINT = then(DENSE, Layout(lambda x: x[None, None], lambda x: x[0, 0]))
"""A matrix of one row an output in PyTorch; here a kernel of one place."""
_FORMER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names of attention's layers in files of earlier versions."""


def infer(shapes: Shapes, side: int) -> Inferred:
    """Finds what an autoencoder is.

    Args:
      shapes: of its tensors.
      side: of the images, which no tensor says.

    Returns:
      Fields of both halves.

    Raises:
      UserError: it is another network.
    """
    width, pixels = shapes.of("encoder.conv_in.weight", 4)[:2]
    stages = shapes.count("encoder.down_blocks.{}.resnets.0.conv1.weight")
    outputs = [
        shapes.of(f"encoder.down_blocks.{stage}.resnets.0.conv1.weight", 4)[0]
        for stage in range(stages)
    ]
    channels = shapes.of("post_quant_conv.weight", 4)[0]
    network = {
        "width": width,
        "widths": tuple(max(1, count // width) for count in outputs) or (1,),
        "blocks": max(1, shapes.count("encoder.down_blocks.0.resnets.{}.conv1.weight")),
        "channels": channels,
        "groups": _GROUPS,
    }
    if width % _GROUPS:
        raise UserError(
            f"{shapes.file} has {width} channels next to the image, which are not the official "
            f"{_GROUPS} groups of any number"
        )
    numbers = (side >> max(0, stages - 1)) ** 2 * channels
    return Inferred(network, (side, side, pixels), numbers, 0)


def table(config: AutoencoderKL) -> Table:
    """The tensors of both halves.

    Args:
      config: of ours.

    Returns:
      The table.
    """
    last = len(config.widths) - 1
    found = layer("quant_conv", _in("encoder", "moments"), CONV, True, False)
    found |= layer("post_quant_conv", _in("decoder", "latents"), CONV, True, False)
    for half, blocks in (("encoder", config.blocks), ("decoder", config.blocks + 1)):
        found |= layer(f"{half}.conv_in", _in(half, "first"), CONV, True, False)
        for stage, multiple in enumerate(config.widths):
            down = half == "encoder"
            place = stage if down else last - stage
            name = f"{half}.{'down' if down else 'up'}_blocks.{place}"
            before = config.widths[max(0, stage - 1) if down else min(last, stage + 1)]
            for number in range(blocks):
                widens = number == 0 and before != multiple
                if down and stage == 0:
                    widens = number == 0 and multiple != 1
                own = _in(half, f"{half}_{stage}_{number}")
                found |= _block(f"{name}.resnets.{number}", own, widens)
            if down and stage < last:
                found |= _conv(f"{name}.downsamplers.0.conv", _in(half, f"down_{stage + 1}"))
            if not down and stage:
                found |= _conv(f"{name}.upsamplers.0.conv", _in(half, f"up_{stage}"))
        middle = f"{half}.mid_block"
        for number in (0, 1):
            found |= _block(f"{middle}.resnets.{number}", _in(half, f"middle_{number}"), False)
        attention = f"{middle}.attentions.0"
        found |= norm(f"{attention}.group_norm", _in(half, "attention", "norm"))
        for part, today in zip(("query", "key", "value", "out"), _FORMER.values(), strict=True):
            own = _in(half, "attention", part)
            found |= layer(f"{attention}.{today}", own, _POINT, True, False)
        found |= norm(f"{half}.conv_norm_out", _in(half, "last_norm"))
        found |= _conv(f"{half}.conv_out", _in(half, "last"))
    return found


def of_file(made: Table, shapes: Shapes) -> tuple[Table, list[str]]:
    """The table of a file, which may have names of earlier versions; see `genjax.official.edm`."""
    found: Table = {}
    for name, tensor in made.items():
        for former, today in _FORMER.items():
            other = name.replace(f"attentions.0.{today}.", f"attentions.0.{former}.")
            if other != name and other in shapes:
                name = other
        found[name] = tensor
    return found, []


def _in(half: str, *names: str) -> Place:
    return (half, "network", *names)


def _conv(name: str, place: Place) -> Table:
    return layer(name, place, CONV, True, False)


def _block(name: str, place: Place, widens: bool) -> Table:
    found: Table = {}
    for number in (0, 1):
        found |= norm(f"{name}.norm{number + 1}", (*place, f"norm_{number}"))
        found |= _conv(f"{name}.conv{number + 1}", (*place, f"conv_{number}"))
    return found | (_conv(f"{name}.conv_shortcut", (*place, "skip")) if widens else {})
