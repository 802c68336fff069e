"""Diffusion and flow matching."""

from genjax.config import DiffusionConfig, Experiment, LogitNormal, MeanFlowConfig, Straight, UNet
from genjax.presets.base import experiment, on_digits


def _flow(network: UNet) -> DiffusionConfig:
    """Rectified flow (Liu et al. 2023) at the times of Esser et al. 2024."""
    return DiffusionConfig(
        network=network, path=Straight(), prediction="velocity", times=LogitNormal()
    )


_DIGITS = UNet(width=32, widths=(1, 2), blocks=1)
_FASHION = UNet(width=32, widths=(1, 2, 2), blocks=1)

EXPERIMENTS: tuple[Experiment, ...] = (
    on_digits(experiment("diffusion-digits", "digits", DiffusionConfig(network=_DIGITS))),
    experiment("diffusion-mnist", "mnist", DiffusionConfig(network=_FASHION)),
    experiment("diffusion-fashion", "fashion_mnist", DiffusionConfig(network=_FASHION)),
    on_digits(experiment("meanflow-digits", "digits", MeanFlowConfig(network=_DIGITS))),
    experiment("meanflow-fashion", "fashion_mnist", MeanFlowConfig(network=_FASHION)),
    experiment("flow-fashion", "fashion_mnist", _flow(_FASHION)),
)
