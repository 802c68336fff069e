"""Which family of models a configuration describes, and its algorithm."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from genjax.config import (
    AutoregressiveConfig,
    AutoregressiveSampling,
    ConsistencyConfig,
    ConsistencySampling,
    ContrastiveConfig,
    DiffusionConfig,
    DiffusionSampling,
    Experiment,
    GANConfig,
    GANSampling,
    MeanFlowConfig,
    MeanFlowSampling,
    Model,
    VAEConfig,
    VAEGANConfig,
)
from genjax.core.algorithm import Algorithm, at_precision
from genjax.core.frozen import NO_NETWORKS, Networks
from genjax.core.players import players
from genjax.core.rng import example_index, stream
from genjax.core.schema import Field, Schema, Spec
from genjax.core.types import Batch, Metrics, State
from genjax.domains import domain_of
from genjax.domains.derivations import derive, derived_fields
from genjax.domains.domain import Domain
from genjax.errors import UserError, lookup
from genjax.families.autoregressive import make_autoregressive
from genjax.families.contrastive.algorithm import make_contrastive
from genjax.families.diffusion.algorithm import make_diffusion
from genjax.families.diffusion.consistency import make_consistency
from genjax.families.diffusion.mean_flow import make_mean_flow
from genjax.families.gan.algorithm import make_gan
from genjax.families.latent_space import in_any_space
from genjax.families.vae.algorithm import make_vae
from genjax.families.vae_gan import make_vae_gan


class Family(NamedTuple):
    """A family of models.

    Attributes:
      make: ``(config, spec, axis_name, accumulate) -> algorithm``, one more argument for a family
        with `sampling`, and ``networks`` where the configuration names runs.
      sampling: dataclass of what its samples depend on beside the model, if anything.
    """

    make: Callable[..., Algorithm]
    sampling: type | None = None


FAMILIES: dict[type[Model], Family] = {
    AutoregressiveConfig: Family(make_autoregressive, AutoregressiveSampling),
    ConsistencyConfig: Family(in_any_space(make_consistency), ConsistencySampling),
    ContrastiveConfig: Family(make_contrastive),
    DiffusionConfig: Family(in_any_space(make_diffusion), DiffusionSampling),
    GANConfig: Family(make_gan, GANSampling),
    MeanFlowConfig: Family(in_any_space(make_mean_flow), MeanFlowSampling),
    VAEConfig: Family(make_vae),
    VAEGANConfig: Family(make_vae_gan),
}
"""Families by the type of their configuration."""


def make_spec(experiment: Experiment, schema: Schema) -> Spec:
    """What a model of an experiment must know of its data.

    Args:
      experiment: its `data.target` and `data.given` name fields; without them the domain's own
        field is generated, from the label where there is one and from what `data.derive` makes.
      schema: of the data as they are stored.

    Returns:
      The spec, with the target as a model sees it.

    Raises:
      UserError: the data have no such field, or it can't be derived.
    """
    domain = domain_of(schema.domain)
    target = domain.field if experiment.data.target is None else experiment.data.target
    lookup(schema.fields, target, f"field of {experiment.data.name}")
    derived = _derived_fields(experiment.data.derive, schema, target)
    given = experiment.data.given
    if given is None:
        given = (*(("label",) if "label" in schema.fields else ()), *derived)
    for name in given:
        lookup({**schema.fields, **derived}, name, f"field of {experiment.data.name}")
    if left := [name for name in derived if name not in given]:
        raise UserError(
            f"data.derive makes {left[0]!r}, which data.given leaves out; add it, or derive nothing"
        )
    if target in given:
        raise UserError(f"data.given has {target!r}, which is generated; leave it out")
    shape = schema.fields[target].shape
    if len(shape) != domain.axes:
        raise UserError(
            f"{target!r} of {experiment.data.name} has shape {shape}, but {schema.domain} data "
            f"have {domain.axes} axes"
        )
    fields = {**schema.fields, target: domain.model_field(schema.fields[target]), **derived}
    return Spec(
        experiment.batch_size,
        fields,
        target,
        tuple(given),
        schema.facts,
        derive=experiment.data.derive,
    )


def _derived_fields(words: Sequence[str], schema: Schema, target: str) -> dict[str, Field]:
    """What `make_spec` adds to the fields of the data."""
    if not words:
        return {}
    if schema.domain != "image":
        raise UserError(f"data.derive is {words[0]}, but it is for images; leave it out")
    derived = derived_fields(words, schema.fields[target].shape)
    if taken := sorted(derived.keys() & schema.fields.keys()):
        raise UserError(f"data.derive makes {taken[0]!r}, which is a field of the data already")
    return derived


def make_algorithm(
    experiment: Experiment,
    schema: Schema,
    axis_name: str | None = None,
    sampling: Any = None,
    networks: Networks = NO_NETWORKS,
) -> Algorithm:
    """Builds the algorithm of an experiment.

    Args:
      experiment: the configuration.
      schema: of the data.
      axis_name: mapped axis over the devices (pmap), if any.
      sampling: how samples are drawn, of the type that the family has for it; None for its
        defaults.
      networks: of the runs that the configuration and `sampling` name.

    Returns:
      An algorithm that takes batches as the data are stored, at the experiment's precision.

    Raises:
      UserError: the configuration names something unknown, or does not fit the data.
    """
    spec = make_spec(experiment, schema)
    family = FAMILIES[type(experiment.model)]
    options = () if family.sampling is None else (sampling,)
    others = {"networks": networks} if networks else {}
    algorithm = family.make(
        experiment.model, spec, axis_name, experiment.accumulate, *options, **others
    )._replace(frozen=networks)
    named = {"data.given has": experiment.data.given or (), "data.derive makes": spec.derived}
    for how, names in named.items():
        if unused := set(names) - set(algorithm.spec.given):
            raise UserError(
                f"{how} {min(unused)!r}, from which this model generates nothing; leave it out, or "
                "make the model conditional"
            )
    changes = ("flip",) if experiment.data.flip else ()
    algorithm = with_stored(algorithm, domain_of(schema.domain), changes, axis_name)
    return at_precision(algorithm, experiment.precision)


def with_stored(
    algorithm: Algorithm, domain: Domain, changes: tuple[str, ...], axis_name: str | None
) -> Algorithm:
    """Lets an algorithm take batches as they are stored.

    Args:
      algorithm: it takes its target as a model sees it.
      domain: of the target.
      changes: entries of the domain's `augment` that are made in a step, in order.
      axis_name: mapped axis over the devices, if any.

    Returns:
      The algorithm with the conversion, the changes in a step, and behind them what is derived,
      compiled into what takes a batch.

    Raises:
      UserError: the domain has no such change.
    """
    spec, target = algorithm.spec, algorithm.spec.target
    augment = [(name, lookup(domain.augment, name, "change of the data")) for name in changes]

    def seen(batch: Batch) -> Batch:
        return {**batch, target: domain.to_model(batch[target])}

    def with_derived(batch: Batch) -> Batch:
        return {**batch, **derive(spec, batch[target])}

    def converted(batch: Batch) -> Batch:
        return with_derived(seen(batch))

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        batch = seen(batch)
        for name, change in augment:
            index = example_index(batch[target].shape[0], axis_name)
            key = stream(state.key, name, state.step)
            batch = {**batch, target: change(batch[target], key, index)}
        return algorithm.step(state, with_derived(batch))

    def with_key(function: Any) -> Any:
        return function and (lambda state, batch, key: function(state, converted(batch), key))

    def update(function: Any) -> Any:
        return lambda state, batch: function(state, converted(batch))

    likelihood = algorithm.log_likelihood
    return algorithm._replace(
        step=step,
        updates={name: update(function) for name, function in algorithm.updates.items()},
        evaluate=with_key(algorithm.evaluate),
        show=with_key(algorithm.show),
        log_likelihood=likelihood and likelihood._replace(values=with_key(likelihood.values)),
    )


def count_parameters(algorithm: Algorithm) -> dict[str, int]:
    """Counts the trainable numbers of each player, without making any; from player to count."""
    state = jax.eval_shape(algorithm.init, jax.random.key(0))
    return {
        name: sum(leaf.size for leaf in jax.tree.leaves(player.params))
        for name, player in players(state).items()
    }
