"""``genjax table | plot``."""

from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from genjax.commands.arguments import make_folder, parse, say
from genjax.errors import UserError

if TYPE_CHECKING:
    from genjax.ablation.results import Record


def table(arguments: list[str]) -> None:
    """Tabulate ablations: genjax table RESULTS ... [--out DIR] [--sort SCORE]."""

    def run(
        results: Positional[tuple[Path, ...]],
        out: Path | None = None,
        sort: str | None = None,
    ) -> None:
        """Write an ablation's table as Markdown, CSV and LaTeX: mean, interval, worst seed, p.

        Args:
          results: Folders of one ablation, or files of its results; those of several machines are
            put together.
          out: Folder for table.md, table.csv and table.tex; beside the first results if None.
          sort: Score to sort variants by; None keeps their order.
        """
        records, folder = _read(results, out)
        from genjax.ablation.rows import make_rows
        from genjax.ablation.table import to_csv, to_latex, to_markdown

        rows = make_rows(records, sort)
        markdown = to_markdown(rows, records)
        texts = {
            "table.md": markdown,
            "table.csv": to_csv(rows),
            "table.tex": to_latex(rows, records),
        }
        make_folder(folder)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        say(markdown)
        say(f"wrote {', '.join(str(folder / name) for name in texts)}")

    parse(run, arguments, "genjax table")


def plot(arguments: list[str]) -> None:
    """Draw ablations: genjax plot RESULTS ... [--out DIR]."""

    def run(results: Positional[tuple[Path, ...]], out: Path | None = None) -> None:
        """Draw an ablation's learning curves and scores as PNG and SVG.

        Args:
          results: Folders of one ablation, or files of its results; those of several machines are
            put together.
          out: Folder for curves.png, curves.svg, scores.png and scores.svg; beside the first
            results if None.
        """
        records, folder = _read(results, out)
        from genjax.ablation.plot import plot_curves, plot_scores
        from genjax.ablation.rows import make_rows

        make_folder(folder)
        files = plot_scores(make_rows(records), records, folder)
        curves = plot_curves(records, folder)
        if not curves:
            say("warning: nothing was evaluated during training, so there are no curves")
        say(f"wrote {', '.join(map(str, [*curves, *files]))}")

    parse(run, arguments, "genjax plot")


def _read(paths: tuple[Path, ...], out: Path | None) -> "tuple[list[Record], Path]":
    if not paths:
        raise UserError("give the folder of an ablation, or files of its results")
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    from genjax.ablation.results import read_results

    results = read_results(paths)
    for warning in results.warnings:
        say(f"warning: {warning}")
    return results.records, out or (paths[0] if paths[0].is_dir() else paths[0].parent)
