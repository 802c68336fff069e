"""``genjax average``."""

from pathlib import Path

from tyro.conf import Positional

from genjax.commands.arguments import parse, parse_checkpoint, say
from genjax.config.model import WIDEST
from genjax.errors import UserError

_DOUBTFUL = 0.05


def average(arguments: list[str]) -> None:
    """Make another average of a run's weights: genjax average RUN_DIR --width 0.1 [--out DIR]."""

    def run(
        run_dir: Positional[Path], width: float, out: Path | None = None, checkpoint: str = "last"
    ) -> None:
        """Make a run whose moving average has another length, from the averages that a run keeps.

        The run was trained with --model.ema-profiles. Nothing is trained: the average is the sum of
        those that comes nearest (post-hoc EMA; Karras et al. 2024, EDM2). Widths beyond those that
        are kept are extrapolated, which takes many checkpoints; where the sum is far from the
        average, a warning says so, and the new run's manifest how far.

        Args:
          run_dir: Folder of the run.
          width: Relative width of the average: standard deviation of its weights over the time of
            training, such as 0.1.
          out: Folder of the new run, which is sampled and scored like others; RUN_DIR-width-WIDTH
            by default.
          checkpoint: last, best, or the step of a checkpoint: where the average ends.
        """
        if not 0 < width <= WIDEST:
            raise UserError(f"--width is {width:g}; it must be above 0 and at most {WIDEST}")
        which = parse_checkpoint(checkpoint)
        from genjax.run.averages import average_run
        from genjax.run.directory import read_config

        read_config(run_dir)
        # The folder that one is in has no name of its own.
        named = run_dir if run_dir.name else run_dir.absolute()
        directory = out or named.with_name(f"{run_dir.absolute().name}-width-{width:g}")
        distance, nearest = average_run(run_dir, which, width, directory, _DOUBTFUL)
        if distance > _DOUBTFUL:
            say(
                f"warning: this is no average of width {width:g}: the nearest sum of what "
                f"{run_dir} keeps is {distance:.0%} away from it, and comes within "
                f"{_DOUBTFUL:.0%} from --width {nearest:.3g} on; more checkpoints in training come "
                "closer"
            )
        say(f"wrote {directory}; `genjax sample` and `genjax evaluate` take it")

    parse(run, arguments, "genjax average")
