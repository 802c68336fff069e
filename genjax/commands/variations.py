"""``genjax vary``."""

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from genjax.commands.arguments import (
    check_arrays,
    check_file,
    check_range,
    parse,
    parse_checkpoint,
    progress,
    say,
    with_values,
)
from genjax.commands.sample_options import sampling_options
from genjax.config import LARGEST_SEED
from genjax.errors import UserError

_MOST = 1024


def vary(arguments: list[str]) -> None:
    """Draw variations of given images by their embeddings: genjax vary RUN_DIR --image FILE."""
    options = sampling_options(arguments)
    usual = options()

    def run(
        run_dir: Positional[Path],
        image: tuple[Path, ...],
        n: int | None = None,
        frames: int | None = None,
        from_text: str | None = None,
        to_text: str | None = None,
        theta: float | None = None,
        invert: bool = False,
        seed: int = 0,
        out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None,
        npz: Path | None = None,
        checkpoint: str = "last",
        average: bool = True,
        sampling: Annotated[options, tyro.conf.arg(name="")] = usual,  # type: ignore[valid-type]
    ) -> None:
        """Draw images of the embeddings of given ones by a decoder such as unclip-emoji.

        Without more, variations of each image; with --frames alone, the ways from each image to
        the next; with texts, the ways from each image along their difference (Ramesh et al. 2022,
        figures 3, 4 and 5). Nothing is said in words to the decoder.

        Args:
          run_dir: Folder of the run, whose data were made by genjax data embed.
          image: PNG or JPEG files, folders of such, or .npz files; resized as the run's data were.
          n: Variations of each image; 4 by default.
          frames: Images on each way, both ends included; 8 by default with texts.
          from_text: What the images show, in words.
          to_text: What they are to show.
          theta: Share of the way from an image's embedding to the difference of the texts at which
            it ends; 0.5 by default.
          invert: Begin ways with the noise from which the sampler, run without noise of its own,
            comes to the images, and between two of them on its great circle, in place of the
            seed's.
          seed: Seed of the first variations; those beside them have the seeds that follow.
          out: Picture with the given images first in each row, and last in those of a way to
            another one; vary.png in the run's folder by default.
          npz: File for arrays: given and images, uint8, the latter [rows, results, height, width,
            channels].
          checkpoint: last, best, or the step of a checkpoint.
          average: Take the moving average of the parameters where the run keeps one.
          sampling: How the family of the run draws samples.
        """
        if (from_text is None) != (to_text is None):
            raise UserError("give both --from-text and --to-text, or neither")
        words = from_text is not None
        ways = words or frames is not None
        for flag, value, fits, where in (
            ("--n", n, not ways, "of variations, without --frames and texts"),
            ("--theta", theta, words, "of texts"),
            ("--invert", invert or None, ways, "of ways: --frames"),
        ):
            if value is not None and not fits:
                raise UserError(f"{flag} is {value}, which is {where}; leave it out")
        check_range("--n", n, 1, _MOST)
        check_range("--frames", frames, 2, _MOST)
        check_range("--seed", seed, 0, LARGEST_SEED + 1 - (n or 4))
        if theta is not None and not 0 < theta <= 1:
            raise UserError(f"--theta is {theta:g}; it must be above 0, at most 1")
        which = parse_checkpoint(checkpoint)
        check_file(out)
        check_arrays(npz)
        import numpy as np

        from genjax.domains import domain_of
        from genjax.domains.domain import Picture
        from genjax.domains.grid import image_grid
        from genjax.domains.previews import check_ending, save_previews
        from genjax.run import variations
        from genjax.run.latents import open_for_images

        opened = open_for_images(run_dir, which, "what is varied is", average, sampling or None)
        picture = out or run_dir / "vary.png"
        check_ending(picture, domain_of(opened.schema.domain))
        space = variations.open_space(opened)
        known = variations.read_known(opened, space, image)
        given, zs = known
        last = []
        if not ways:
            seeds = range(seed, seed + (n or 4))
            made = variations.vary(opened, zs, seeds, progress)
            first = given
        else:
            noise = variations.noise_of(opened, known) if invert else None
            if words:
                assert from_text is not None
                assert to_text is not None
                towards = variations.text_difference(space, from_text, to_text)
                ends, first, count = np.broadcast_to(towards, zs.shape), given, frames or 8
                path = variations.way(zs, ends, count, theta or 0.5)
                pair = None if noise is None else (noise, noise)
            else:
                if len(given) < 2:
                    raise UserError(f"--frames is {frames}, but there is one image; give two")
                assert frames is not None
                path, first = variations.way(zs[:-1], zs[1:], frames), given[:-1]
                pair = None if noise is None else (noise[:-1], noise[1:])
                last = [given[1:, None]]
            made = variations.walk(opened, path, seed, pair, progress)
        rows = np.concatenate([first[:, None], made, *last], axis=1)
        flat = rows.reshape(-1, *rows.shape[2:])
        (written,) = save_previews(picture, [Picture(image_grid(flat, rows.shape[1]))])
        if npz is not None:
            with npz.open("wb") as stream:
                np.savez_compressed(stream, given=given, images=made)
        files = " and ".join(str(file) for file in (written, npz) if file is not None)
        say(f"wrote {rows.shape[0]} rows of {rows.shape[1]}, step {opened.step}, to {files}")

    parse(run, with_values(arguments, ("--invert",)), "genjax vary")
