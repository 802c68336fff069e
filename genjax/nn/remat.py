"""Networks whose backward pass computes again what it would otherwise keep in memory."""

import flax.linen as nn
import jax

from genjax.config import Remat
from genjax.nn.channels import LINEAR


def rematerialized(
    kind: type[nn.Module], remat: Remat, static: tuple[int, ...] = ()
) -> type[nn.Module]:
    """The same class of modules, of which the backward pass keeps as much as asked for.

    Args:
      kind: a class of modules.
      remat: what is computed again.
      static: arguments of its call that are no arrays; they count from the module itself.

    Returns:
      A class with the same attributes.
    """
    if remat == "none":
        return kind
    keep = None
    if remat == "activations":
        keep = jax.checkpoint_policies.save_only_these_names(LINEAR)
    made: type[nn.Module] = nn.remat(kind, policy=keep, static_argnums=static)
    return made
