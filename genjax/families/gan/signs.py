"""What shows in an adversarial game that one player has won it."""

from collections.abc import Mapping

from genjax.config import MonitorConfig
from genjax.core.algorithm import Sign


def adversarial_signs(config: MonitorConfig) -> list[Sign]:
    """The signs that D has won for good.

    It prefers every real example to the generated one beside it, or its logits part: their mean gap
    passes a bound.

    Args:
      config: the thresholds, and on how many lines in a row they must be passed.

    Returns:
      The signs.
    """

    def prefers(metrics: Mapping[str, float]) -> tuple[bool, str] | None:
        value = metrics.get("discriminator/accuracy")
        if value is None:
            return None
        words = f"D has preferred {value:.0%} of the real images on {config.lines} logged lines"
        return value >= config.accuracy, words

    def parts(metrics: Mapping[str, float]) -> tuple[bool, str] | None:
        names = ("discriminator/real_logit", "discriminator/fake_logit")
        if not metrics.keys() >= set(names):
            return None
        gap = metrics[names[0]] - metrics[names[1]]
        words = (
            f"D's logits of real and generated images have been at least {config.logit_gap:g} "
            f"apart on {config.lines} logged lines, now {gap:.3g}"
        )
        return gap >= config.logit_gap, words

    return [Sign("accuracy", config.lines, prefers), Sign("logit gap", config.lines, parts)]
