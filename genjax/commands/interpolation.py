"""``genjax interpolate``."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from genjax.commands.arguments import check_file, check_range, parse, parse_checkpoint, say
from genjax.commands.sample_options import (
    open_words,
    prior_options,
    prompt_options,
    sampling_options,
    warn_of_unused,
)
from genjax.config import LARGEST_SEED, MOST_SAMPLES
from genjax.errors import UserError


def interpolate(arguments: list[str]) -> None:
    """Draw samples on the way between latents: genjax interpolate RUN_DIR [--out way.gif]."""
    options, captions = sampling_options(arguments), prompt_options(arguments)
    priors = prior_options(arguments)
    usual, unsaid, none = options(), captions(), priors()

    def run(
        run_dir: Positional[Path],
        rows: int = 8,
        keys: int | None = None,
        frames: int | None = None,
        space: Literal["z", "w"] | None = None,
        seed: int = 0,
        out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None,
        rate: float = 24.0,
        checkpoint: str = "last",
        average: bool = True,
        label: str | None = None,
        sampling: Annotated[options, tyro.conf.arg(name="")] = usual,  # type: ignore[valid-type]
        words: Annotated[captions, tyro.conf.arg(name="")] = unsaid,  # type: ignore[valid-type]
        cascade: Annotated[priors, tyro.conf.arg(name="")] = none,  # type: ignore[valid-type]
    ) -> None:
        """Draw images on the way from one latent to the next.

        Args:
          run_dir: Folder of the run.
          rows: Ways beside each other; they begin at different latents.
          keys: Latents that each way passes; 2 in a picture and 4 in a video by default. The
            k-th of way r is that of sample r * keys + k of `genjax sample --seed`.
          frames: Images from one latent to the next; 8 in a picture and 24 in a video by default.
          space: z along great circles, or w of a generator of styles along straight lines, which is
            the default where there is one.
          seed: Seed of the series.
          out: A picture (.png, .jpg, .webp) with a way in each row, or a video (.gif, or .mp4 with
            the extra genjax-models[video]) that comes back to where it began; interpolation.png in
            the run's folder by default.
          rate: Frames a second of a video.
          checkpoint: last, best, or the step of a checkpoint.
          average: Sample from the moving average of the parameters where the run keeps one.
          label: Class of all images, as of genjax sample; None gives each row one in turn.
          sampling: How the family of the run draws samples.
          words: What a run that learnt from captions takes in words, a prompt each way.
          cascade: What makes embeddings of captions for a run that learnt from both.
        """
        check_range("--rows", rows, 1, 1024)
        check_range("--keys", keys, 2, MOST_SAMPLES)
        check_range("--frames", frames, 1, 10_000)
        check_range("--seed", seed, 0, LARGEST_SEED)
        if not 1 <= rate <= 1000:
            raise UserError(f"--rate is {rate:g}; it must be at least 1, at most 1000")
        which = parse_checkpoint(checkpoint)
        check_file(out)
        from genjax.domains import domain_of
        from genjax.domains.domain import Picture
        from genjax.domains.grid import image_grid
        from genjax.domains.previews import check_ending, save_previews
        from genjax.domains.video import ENDINGS, check_video, save_video
        from genjax.run.directory import read_config, read_schema
        from genjax.run.interpolation import Way, interpolate_run

        read_config(run_dir)
        schema = read_schema(run_dir)
        if schema.domain != "image":
            raise UserError(f"{run_dir} makes {schema.domain}, and ways are drawn of images alone")
        file = out or run_dir / "interpolation.png"
        video = file.suffix.lower() in ENDINGS
        if video:
            check_video(file)
        else:
            try:
                check_ending(file, domain_of(schema.domain))
            except UserError as error:
                raise UserError(f"{error}; videos end in {' or '.join(ENDINGS)}") from None
        way = Way(rows, keys or (4 if video else 2), frames or (24 if video else 8), space, video)
        prompts, prior = open_words(run_dir, words, cascade)
        warn_of_unused(prompts, rows, "ways")
        embed = None if prior is None else prior.embed
        made = interpolate_run(
            run_dir, seed, which, way, label, sampling or None, average, prompts, embed
        )
        if video:
            save_video(file, [image_grid(frame, None) for frame in made.frames], rate)
            written = file
        else:
            images = made.frames.swapaxes(0, 1).reshape(-1, *made.frames.shape[2:])
            (written,) = save_previews(file, [Picture(image_grid(images, len(made.frames)))])
        say(
            f"wrote {rows} ways of {len(made.frames)} images in {made.space}, step {made.step}, "
            f"seed {seed}, to {written}"
        )

    parse(run, arguments, "genjax interpolate")
