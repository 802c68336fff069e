"""Diffusion and flow matching."""

from genjax.config import (
    ConsistencyConfig,
    DiffusionConfig,
    Experiment,
    LogitNormal,
    MeanFlowConfig,
    Straight,
    UNet,
)
from genjax.presets.base import experiment, on_digits


def _flow(network: UNet) -> DiffusionConfig:
    """Rectified flow (Liu et al. 2023) at the times of Esser et al. 2024."""
    return DiffusionConfig(
        network=network, path=Straight(), prediction="velocity", times=LogitNormal()
    )


def _consistency(network: UNet) -> ConsistencyConfig:
    """Learns from data alone, as Song & Dhariwal 2024, but for intervals doubled sooner."""
    return ConsistencyConfig(network=network, doubled_every=250)


_DIGITS = UNet(width=32, widths=(1, 2), blocks=1)
_FASHION = UNet(width=32, widths=(1, 2, 2), blocks=1)

EXPERIMENTS: tuple[Experiment, ...] = (
    on_digits(experiment("diffusion-digits", "digits", DiffusionConfig(network=_DIGITS))),
    on_digits(experiment("consistency-digits", "digits", _consistency(_DIGITS))),
    experiment("consistency-fashion", "fashion_mnist", _consistency(_FASHION)),
    experiment("diffusion-mnist", "mnist", DiffusionConfig(network=_FASHION)),
    experiment("diffusion-fashion", "fashion_mnist", DiffusionConfig(network=_FASHION)),
    on_digits(experiment("meanflow-digits", "digits", MeanFlowConfig(network=_DIGITS))),
    experiment("meanflow-fashion", "fashion_mnist", MeanFlowConfig(network=_FASHION)),
    experiment("flow-fashion", "fashion_mnist", _flow(_FASHION)),
)
