"""What a score is."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from genjax.evals.comparison import Comparison


class Score(NamedTuple):
    """One number about a set of images.

    Attributes:
      name: of the score.
      value: the number.
      better: whether a higher or a lower one is.
      spread: its uncertainty, or None.
      parameters: what else it depends on, and what `spread` is; a part of the protocol.
      details: further results.
      network: whether it depends on the feature network.
      warning: what to mistrust, in words, or None.
    """

    name: str
    value: float
    better: Literal["higher", "lower"]
    spread: float | None = None
    parameters: Mapping[str, Any] = {}
    details: Mapping[str, Any] = {}
    network: bool = True
    warning: str | None = None


def judge(compared: Comparison) -> dict[str, str]:
    """The parameter of scores that depend on the classifier of the data set."""
    return {"classifier": f"{compared.classifier.name} {compared.classifier.hash}"}
