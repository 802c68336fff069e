"""Named experiments, a file for each kind of model. Nothing here imports JAX."""

from genjax.config import Experiment
from genjax.errors import lookup
from genjax.presets import audio, contrastive, diffusion, gan, points, stylegan2, text, vae

DEFAULT = "dcgan-digits"

PRESETS: dict[str, Experiment] = {
    experiment.name: experiment
    for module in (gan, stylegan2, diffusion, points, vae, text, audio, contrastive)
    for experiment in module.EXPERIMENTS
}


def preset(name: str) -> Experiment:
    """The experiment of that name; raises UserError with the choices for an unknown one."""
    return lookup(PRESETS, name, "preset")
