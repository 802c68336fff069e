"""Runs the groups of an ablation as jobs of a cluster, by the optional package submitit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from genjax.ablation.grid import load_ablation, make_cells
from genjax.ablation.plan import Group
from genjax.ablation.run import Runner
from genjax.data.progress import no_progress
from genjax.distribution import install_extra
from genjax.errors import UserError
from genjax.run.startup import prepare_process


def import_submitit() -> ModuleType | Any:
    """Imports the optional package; raises UserError with the command that installs it."""
    try:
        import submitit
    except ImportError:
        raise UserError(
            f"--cluster needs the package submitit: {install_extra('cluster')}, or leave it out"
        ) from None
    return submitit


def submit(
    groups: Sequence[Group],
    file: Path,
    directory: Path,
    seeds: Sequence[int],
    steps: int | None,
    cluster: str,
    parameters: Mapping[str, Any],
) -> list[Any]:
    """Submits one job a group, as one array.

    Args:
      groups: what is missing.
      file: that declares the ablation; jobs must be able to read it.
      directory: of the ablation, on a disk that the jobs share.
      seeds: of the grid.
      steps: of each run; None keeps those of the variants.
      cluster: slurm, or local for processes on this machine.
      parameters: of submitit's executor, such as ``timeout_min`` or ``slurm_partition``.

    Returns:
      The jobs, submitit's.

    Raises:
      UserError: the package is missing, or it refuses the cluster or a parameter.
    """
    submitit = import_submitit()
    try:
        executor = submitit.AutoExecutor(folder=str(directory / "jobs"), cluster=cluster)
        executor.update_parameters(**parameters)
    except (NameError, RuntimeError, ValueError, TypeError) as error:
        raise UserError(f"submitit can't use this cluster: {error}") from None
    with executor.batch():
        return [
            executor.submit(_run_group, file.absolute(), directory.absolute(), seeds, steps, group)
            for group in groups
        ]


def _run_group(
    file: Path, directory: Path, seeds: Sequence[int], steps: int | None, group: Group
) -> None:
    """What a job does."""
    prepare_process()
    ablation = load_ablation(file)._replace(seeds=tuple(seeds))
    cells = make_cells(ablation, directory, steps, ())
    Runner(ablation, directory, cells, Console(), no_progress).run([group])
