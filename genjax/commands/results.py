"""``genjax runs | table | plot``."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from genjax.commands.arguments import console, make_folder, parse, say
from genjax.commands.columns import print_rows
from genjax.errors import UserError, lookup

if TYPE_CHECKING:
    from genjax.ablation.results import Record


def runs(arguments: list[str]) -> None:
    """List runs with their last scores: genjax runs [FOLDER] [--sort SCORE]."""

    def run(folder: Positional[Path] = Path("runs"), sort: str | None = None) -> None:
        """List the runs below a folder: configuration, step, start in UTC, and last scores.

        Scores are those of genjax evaluate, or else those of the last evaluation in training. They
        may be of different protocols: genjax compare says which can be ranked. Where samples were
        not drawn as usual, but truncated for one, a score has a mark that a line below explains.

        Args:
          folder: Where to look, at any depth.
          sort: Score to sort by, the smallest first; runs without it come last. None sorts by path.
        """
        from genjax.run.listing import find_runs

        found = find_runs(folder)
        if not found:
            raise UserError(f"{folder} holds no runs; `genjax train` makes one below runs/")
        if sort is not None:
            known = {name: None for listed in found for name in listed.scores}
            lookup(known, sort, f"score of the runs in {folder}")
            found.sort(key=lambda listed: listed.scores.get(sort, math.inf))
        marks: dict[str, str] = {}
        for listed in found:
            for words in listed.drawn.values():
                marks.setdefault(words, f"[{len(marks) + 1}]")
        print_rows(
            (
                str(listed.path),
                listed.name,
                f"{listed.step:,}/{listed.steps:,}",
                listed.started,
                ", ".join(
                    f"{name} {value:.4g} {marks.get(listed.drawn.get(name, ''), '')}".rstrip()
                    for name, value in listed.scores.items()
                ),
            )
            if listed.fault is None
            else (str(listed.path), listed.fault)
            for listed in found
        )
        for words, mark in marks.items():
            say(f"{mark} of samples drawn with {words}")

    parse(run, arguments, "genjax runs")


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
        from genjax.ablation.table import cells, to_csv, to_latex, to_markdown

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
        if console.is_terminal:
            # What is pasted elsewhere lies in the files.
            header, *body = cells(rows, records)
            print_rows(body, header)
            say("\n" + markdown.partition("\n\n")[2])
        else:
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
