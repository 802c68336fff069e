"""Models that generate what an autoencoder of another run makes of data."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Array

from genjax.config import Denoising, VAEConfig
from genjax.core.algorithm import Algorithm, sample_by
from genjax.core.frozen import NO_NETWORKS, Frozen, Networks
from genjax.core.rng import example_index, latents, stream
from genjax.core.schema import Field, Spec
from genjax.core.types import (
    Batch,
    Condition,
    Examples,
    Index,
    Key,
    Metrics,
    PerExample,
    State,
    Variables,
)
from genjax.errors import UserError, lookup
from genjax.families.vae.algorithm import make_autoencoder
from genjax.families.vae.likelihoods import LIKELIHOODS, binarize
from genjax.families.vae.networks import draw
from genjax.nn.networks import latent_shape

_NAME = "autoencoder"
"""The field that names the run, and the player of its state."""


class Coder(NamedTuple):
    """The two halves of an autoencoder.

    Attributes:
      spec: of data as the model that generates latents sees them.
      encode: ``(variables, examples, key, index) -> latents``, [batch, ...]; a key and the places
        of the examples in the whole batch say what is drawn.
      decode: ``(variables, latents) -> examples``.
    """

    spec: Spec
    encode: Callable[[Variables, Examples, Key, Index], Examples]
    decode: Callable[[Variables, Examples], Examples]


def in_any_space(make: Callable[..., Algorithm]) -> Callable[..., Algorithm]:
    """Lets a family of models of data generate the latents of an autoencoder, too.

    Args:
      make: ``(config, spec, axis_name, accumulate, sampling, networks) -> algorithm``, whose config
        may name an autoencoder.

    Returns:
      The like.
    """

    @functools.wraps(make)
    def made(
        config: Denoising,
        spec: Spec,
        axis_name: str | None = None,
        accumulate: int = 1,
        sampling: Any = None,
        networks: Networks = NO_NETWORKS,
    ) -> Algorithm:
        rest = (axis_name, accumulate, sampling, networks)
        if config.autoencoder is None:
            return make(config, spec, *rest)
        coder = make_coder(networks[_NAME], spec, config.latent_scale, axis_name)
        return in_latents(make(config, coder.spec, *rest), coder, spec, axis_name)

    return made


def make_coder(network: Frozen, spec: Spec, scale: float, axis_name: str | None) -> Coder:
    """Builds the halves of another run's autoencoder.

    Args:
      network: of the other run.
      spec: of the data.
      scale: factor of the latents.
      axis_name: mapped axis over the devices, if any.

    Returns:
      The halves.

    Raises:
      UserError: it is no variational autoencoder of such data.
    """
    config, theirs = network.model, network.spec
    if not isinstance(config, VAEConfig) or config.conditional:
        what = "a conditional one" if isinstance(config, VAEConfig) else config.family
        raise UserError(
            f"{_NAME} is a run of the family 'vae' that is given no labels, but this is {what!r}"
        )
    if theirs.shape != spec.shape:
        raise UserError(f"{_NAME} learnt from {theirs.shape}, but the data have {spec.shape}")
    likelihood = lookup(LIKELIHOODS, config.likelihood, "likelihood")
    module = make_autoencoder(config, theirs, axis_name, likelihood)
    shape = latent_shape(config.decoder, theirs.shape, config.latent)

    def encode(variables: Variables, x: Examples, key: Key, index: Index) -> Examples:
        if likelihood.binary and config.binarize:
            x = binarize(x, stream(key, "binarize"), index)
        noise = latents(stream(key, "encode"), index, config.latent)
        posterior = module.apply(variables, x, method="encode")
        return scale * draw(posterior, noise).reshape(-1, *shape)

    def decode(variables: Variables, z: Examples) -> Examples:
        z = (z / scale).reshape(-1, config.latent)
        output: tuple[Examples, Any] = module.apply(variables, z, method="decode")
        return likelihood.mean(output[0])

    fields = {**spec.fields, spec.target: Field(shape, "float32")}
    return Coder(spec._replace(fields=fields, coded=True), encode, decode)


def in_latents(algorithm: Algorithm, coder: Coder, spec: Spec, axis_name: str | None) -> Algorithm:
    """Lets an algorithm of latents take and make data.

    Args:
      algorithm: it takes and makes the latents of `coder`, by a latent of its own.
      coder: from `make_coder`.
      spec: of the data.
      axis_name: mapped axis over the devices, if any.

    Returns:
      The algorithm. Each time an example is seen, another latent of its posterior is drawn. Losses
      on held-out data are those on their latents; there is no likelihood, and no editing.
    """

    def variables_of(state: State) -> Variables:
        found: Variables = state.frozen[_NAME][_NAME]
        return found

    def encoded(state: State, batch: Batch, key: Key, axis: str | None) -> Batch:
        x = batch[spec.target]
        index = example_index(x.shape[0], axis)
        return {**batch, spec.target: coder.encode(variables_of(state), x, key, index)}

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        key = stream(state.key, "latent space", state.step)
        return algorithm.step(state, encoded(state, batch, key, axis_name))

    def evaluate(state: State, batch: Batch, key: Key) -> Mapping[str, PerExample]:
        assert algorithm.evaluate is not None
        return algorithm.evaluate(state, encoded(state, batch, key, None), key)

    inner = algorithm.latent
    assert inner is not None

    def decode(state: State, code: Array, key: Key, index: Index, given: Condition) -> Array:
        return coder.decode(variables_of(state), inner.decode(state, code, key, index, given))

    latent = inner._replace(decode=decode)
    fields = {**algorithm.spec.fields, spec.target: spec.fields[spec.target]}
    return algorithm._replace(
        spec=algorithm.spec._replace(fields=fields, coded=False),
        step=step,
        sample=sample_by(latent),
        evaluate=algorithm.evaluate and evaluate,
        latent=latent,
        log_likelihood=None,
        editing=None,
    )
