"""``genjax weights``."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from genjax.commands.arguments import (
    check_file,
    check_range,
    parse,
    parse_checkpoint,
    say,
    show_help,
)
from genjax.config import LARGEST_SIDE, TextActivation
from genjax.errors import UserError, suggest

_MOST_STEPS = 2**31 - 1
_MOST_HEADS = 2**16

_Architecture = Annotated[str, tyro.conf.arg(metavar="ARCHITECTURE")]


def weights(arguments: list[str]) -> None:
    """Exchange official weights: genjax weights import biggan --from FILE | export biggan RUN."""

    def import_(
        architecture: Positional[_Architecture],
        source: Annotated[Path, tyro.conf.arg(name="from")],
        out: Path,
        generator: Path | None = None,
        discriminator: Path | None = None,
        preset: str | None = None,
        data: str | None = None,
        step: int = 0,
        heads: int | None = None,
        resolution: int | None = None,
        autoencoder: str | None = None,
        vocabulary: Path | None = None,
        tokenizer: Path | None = None,
        activation: TextActivation | None = None,
    ) -> None:
        """Make a run of official weights, to sample from, to evaluate or to train further.

        Files are state dicts with the names of the official PyTorch code, saved as safetensors;
        docs/weights.md shows how. What the networks are is read from their tensors. Optimizers
        begin anew.

        Args:
          architecture: biggan, biggan_deep, clip, dit, edm, kl, minilm, r3gan or stylegan2.
          source: File of the network that samples come from, G_ema or ema of the official code.
          out: Folder of the run, new.
          generator: File of a GAN's generator itself, G, which is trained further; without it that
            is G_ema, too.
          discriminator: File of a GAN's discriminator; without it the run begins with a new one.
          preset: Whose losses, optimizers, batch and data a training goes on with; None means
            biggan-cifar10, dit-imagenet64, edm-cifar10, kl-clothing, r3gan-cifar10 or
            stylegan2-cifar10.
          data: Data set to go on with, which need not be there yet; None means the preset's.
          step: Step that the run is at.
          heads: Heads of attention of a dit, clip or minilm, which tensors do not say; None means
            those of the published one of its width.
          resolution: Side in pixels of the images of kl, an autoencoder, which its tensors do not
            say; None means that of the data.
          autoencoder: Run of the VAE of whose latents a dit is: FOLDER, FOLDER@best or FOLDER@STEP.
          vocabulary: For minilm: its vocab.txt.
          tokenizer: For clip: its tokenizer.json, of the library tokenizers.
          activation: For clip: within its layers, which tensors do not say; None means quick_gelu
            up to a width of 768, as of OpenAI's, and gelu above.
        """
        check_range("--step", step, 0, _MOST_STEPS)
        check_range("--heads", heads, 1, _MOST_HEADS)
        check_range("--resolution", resolution, 1, LARGEST_SIDE)
        from genjax.official.models import Unsaid
        from genjax.official.roles import Files
        from genjax.run.imported import import_weights
        from genjax.run.imported_texts import import_texts, is_text

        files = Files(source, generator, discriminator)
        unsaid = Unsaid(heads, resolution, autoencoder, activation, vocabulary, tokenizer)
        if is_text(architecture):
            _refuse({"--preset": preset, "--data": data, "--step": step or None}, architecture)
            texts = import_texts(architecture, files, out, unsaid)
            say(
                f"{architecture}: {texts.vocabulary:,} tokens, texts of up to {texts.length}, "
                f"{texts.width} numbers a token"
            )
            for note in texts.notes:
                say(note)
            say(f"wrote {out}, a network of texts for other runs")
            return
        made = import_weights(architecture, files, out, preset, data, step, unsaid)
        height, width, channels = made.image
        classes = f"{made.classes} classes" if made.classes else "without classes"
        say(f"{architecture}: {height}x{width}x{channels}, {classes}, z of {made.latent}")
        for role, count in made.tensors.items():
            say(f"{role}: {count} tensors")
        for note in made.notes:
            say(note)
        say(f"wrote {out}, at step {step}, with new optimizers; it goes on with {made.data}")

    def export(
        architecture: Positional[_Architecture],
        run_dir: Positional[Path],
        out: Path,
        generator: Path | None = None,
        discriminator: Path | None = None,
        checkpoint: str = "last",
    ) -> None:
        """Write the weights of a run with the names of the official PyTorch code.

        Args:
          architecture: biggan, biggan_deep, clip, dit, edm, kl, minilm, r3gan or stylegan2.
          run_dir: Folder of the run.
          out: File for the network that samples come from: the moving average where there is one.
          generator: File for a GAN's generator itself.
          discriminator: File for a GAN's discriminator.
          checkpoint: last, best, or the step of a checkpoint.
        """
        which = parse_checkpoint(checkpoint)
        from genjax.official.files import check_names
        from genjax.official.roles import Files
        from genjax.run.exported import export_weights

        files = Files(out, generator, discriminator)
        check_names(files, ("--out", "--generator", "--discriminator"))
        for path in files:
            check_file(path)
        step, notes = export_weights(architecture, run_dir, files, which)
        for note in notes:
            say(note)
        written = " and ".join(str(path) for path in files if path is not None)
        say(f"wrote the weights of step {step} to {written}")

    actions: dict[str, Callable[..., None]] = {"import": import_, "export": export}
    if not arguments or arguments[0] in ("-h", "--help"):
        show_help("genjax weights", actions, weights.__doc__)
        return
    action = arguments[0]
    if action not in actions:
        raise UserError(f"unknown command 'weights {action}'; {suggest(action, actions)}")
    parse(actions[action], arguments[1:], f"genjax weights {action}")


def _refuse(flags: Mapping[str, object], architecture: str) -> None:
    """Refuses flags of a training that there is none of."""
    for flag, value in flags.items():
        if value is not None:
            raise UserError(f"{flag} is {value}, but {architecture} is not trained; leave it out")
