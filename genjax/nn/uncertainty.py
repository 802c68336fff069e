"""How uncertain a denoiser is at each level of noise, learned beside it."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from genjax.core.types import Examples, PerExample
from genjax.nn.magnitude import MPDense, MPFourier

_FEATURES = 128


class WithUncertainty(nn.Module):
    """A denoiser, and beside it ``u(noise)``, linear in Fourier features.

    Attributes:
      network: the denoiser; calls go to it.

    Reference: Karras et al. 2024 (EDM2), appendix B.4.
    """

    network: nn.Module

    def setup(self) -> None:
        """Makes the layers."""
        self.fourier = MPFourier(_FEATURES)
        self.linear = MPDense(1)

    def __call__(self, x: Examples, train: bool, noise: Array, *given: Any) -> Examples:
        """What the network makes of its inputs."""
        if self.is_initializing():
            self.uncertainty(noise)
        made: Examples = self.network(x, train, noise, *given)
        return made

    def uncertainty(self, noise: Float[Array, "batch"]) -> PerExample:
        """The logarithm of the error's expected square.

        Args:
          noise: of each example, EDM's ``log(sigma) / 4``.

        Returns:
          u, float32 [batch].
        """
        return self.linear(self.fourier(noise))[:, 0]
