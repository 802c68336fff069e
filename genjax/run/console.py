"""What a person sees while a run goes on: a bar in a terminal, plain lines elsewhere."""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from genjax.errors import printable

T = TypeVar("T")

# Control characters but tabs, line breaks and those that rich leaves out.
_ORDERS = re.compile(r"[\x00-\x06\x0e-\x1f\x7f-\x9f]")


def print_line(console: Console, message: str) -> None:
    """Prints a line as it is, however long: names in it may look like markup.

    What a terminal would obey, not show, becomes an escape: names and texts may be of strangers.
    """
    message = _ORDERS.sub(lambda found: printable(found[0]), message)
    console.print(message, highlight=False, markup=False, soft_wrap=True)


_REFRESH_S = 0.1


class _Cut(TextColumn):
    """Words that end with an ellipsis where the terminal has no place for all of them."""

    def render(self, task: Task) -> Text:
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


class TrainingDisplay:
    """Shows the progress of a run; a context manager."""

    def __init__(self, console: Console, name: str, first: int, total: int) -> None:
        """Prepares the display.

        Args:
          console: where to show it.
          name: of the run.
          first: steps made before.
          total: steps to make altogether.
        """
        self._console = console
        self._total = total
        self._shown = 0.0
        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            # These two share the width that the others leave.
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            _Cut("{task.fields[status]}", markup=False, table_column=Column(ratio=2)),
            console=console,
            disable=not console.is_terminal,
            expand=True,
        )
        self._task = self._progress.add_task(
            printable(name), total=total, completed=first, status="compiling"
        )

    def __enter__(self) -> "TrainingDisplay":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def advance(self, step: int) -> None:
        """Moves the bar to a step; costs next to nothing, so that each step may."""
        now = time.monotonic()
        if self._console.is_terminal and (step == self._total or now - self._shown > _REFRESH_S):
            self._shown = now
            self._progress.update(self._task, completed=step)

    def compiled(self, calls: str, seconds: float) -> None:
        """Says how long the first calls took; the bar has nothing to say until metrics come.

        Args:
          calls: what was made, such as ``first step``.
          seconds: that it took.
        """
        self._progress.update(self._task, status="")
        self.say(f"{calls}, with the compilation: {seconds:.1f} s")

    def metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Shows the losses, the speed and, in plain lines, the time left."""
        losses = "  ".join(
            f"{name.removesuffix('/loss')} {value:.3f}"
            for name, value in metrics.items()
            if name.endswith("/loss")
        )
        if "images_per_second" in metrics:
            losses += f"  {metrics['images_per_second']:,.0f} images/s"
        if self._console.is_terminal:
            self._progress.update(self._task, status=losses)
            return
        if "seconds_per_step" in metrics:
            left = round((self._total - step) * metrics["seconds_per_step"])
            losses += f"  {left // 60}:{left % 60:02d} left"
        self.say(f"step {step}/{self._total}  {losses}")

    def say(self, message: str) -> None:
        """Prints a line above the bar."""
        print_line(self._console, message)


def track(console: Console, items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Passes items on while a bar counts them; silent outside a terminal."""
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        yield from progress.track(items, total=total, description=description)
