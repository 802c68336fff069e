"""Mistakes a user can make, as one-line errors that name the value and the choices."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

_LONGEST = 200


class UserError(ValueError):
    """Input that genjax can't use; the message is one line and says what to do next.

    The command line prints it without a traceback and exits with status 2.
    """

    def __init__(self, message: str) -> None:
        """Makes the message one printable line, whatever names and values it holds.

        Args:
          message: what is wrong. Line breaks and control characters become escapes.
        """
        super().__init__(printable(message))


def reason(error: BaseException) -> str:
    """Words an exception of a library, for the middle of an error message.

    Args:
      error: the exception.

    Returns:
      Its message on one line of at most 200 characters, or its type where it has none.

    Example:
      >>> reason(ValueError("bad\\n  header")), reason(MemoryError())
      ('bad header', 'MemoryError')
    """
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 3]}..."


def printable(message: str) -> str:
    r"""Escapes what a terminal would not show as itself: a file may be called anything.

    Args:
      message: one line.

    Returns:
      It, with escapes for line breaks, control characters and the like.

    Example:
      >>> print(printable("a\x1b[31m"))
      a\x1b[31m
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)


def suggest(value: str, choices: Iterable[str]) -> str:
    """Names the closest choice, then all of them, for the end of an error message.

    Args:
      value: what was given.
      choices: what is accepted.

    Returns:
      For example ``did you mean 'hinge'? choices: hinge, minimax``.
    """
    choices = sorted(choices)
    folded = {choice.casefold(): choice for choice in choices}
    close = difflib.get_close_matches(value.casefold(), folded, n=1)
    hint = f"did you mean {folded[close[0]]!r}? " if close else ""
    return f"{hint}choices: {', '.join(choices)}"


def lookup(table: Mapping[str, T], name: str, what: str) -> T:
    """Reads an entry of a registry.

    Args:
      table: a registry from name to entry.
      name: the entry asked for.
      what: what the registry holds, in words, for the error.

    Returns:
      The entry.

    Raises:
      UserError: no such entry; the message lists the choices.

    Example:
      >>> lookup({"adam": 1, "sgd": 2}, "sgd", "optimizer")
      2
    """
    if name not in table:
        raise UserError(f"unknown {what} {name!r}; {suggest(name, table)}")
    return table[name]


class RunFailed(RuntimeError):
    """Training can't go on; the message is one line and names what is left to go on from.

    The command line prints it without a traceback and exits with status 1.

    Attributes:
      reason: the message without what is left.
    """

    def __init__(self, reason: str, left: str | None = None) -> None:
        """Composes the message.

        Args:
          reason: why, in one line.
          left: what is left to go on from, if anything.
        """
        super().__init__(printable(reason if left is None else f"{reason}; {left}"))
        self.reason = reason
