"""Lets a process that is asked to end save what it has first; clusters ask before they preempt."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(RuntimeError):
    """Training has saved its state and ended because it was asked to.

    Attributes:
      step: that is saved.
    """

    def __init__(self, step: int) -> None:
        """Keeps the step.

        Args:
          step: steps made.
        """
        super().__init__(f"stopped after step {step}, which is saved")
        self.step = step


@contextlib.contextmanager
def requests_to_stop() -> Iterator[Callable[[], int | None]]:
    """Catches the first SIGTERM or SIGINT; a second one ends the process as usual.

    Returns:
      A context manager, for the main thread, of a function that returns the signal that came, or
      None.
    """
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        restore()
        name = signal.Signals(number).name
        print(f"{name}: saving after this step; once more ends at once", file=sys.stderr)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in _SIGNALS:
        signal.signal(number, note)
    try:
        yield lambda: came[0] if came else None
    finally:
        restore()
