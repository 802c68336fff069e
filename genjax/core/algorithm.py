"""What a family of models is to the rest of genjax: a few pure functions."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.config import MonitorConfig, Precision
from genjax.core.compiler import with_precision
from genjax.core.schema import Spec
from genjax.core.types import Batch, Condition, Index, Key, Metrics, PerExample, State

Tree = TypeVar("Tree")


class Sign(NamedTuple):
    """What may show that a run can't come to anything any more.

    Attributes:
      name: of the sign.
      lines: logged lines in a row on which it must show.
      look: from the metrics of a line to whether it shows, and in words what is then seen; None
        where the line says nothing of it.
    """

    name: str
    lines: int
    look: Callable[[Mapping[str, float]], tuple[bool, str] | None]


def no_signs(config: MonitorConfig) -> list[Sign]:
    """The signs of a family that has none of its own."""
    return []


class Latent(NamedTuple):
    """The two halves of a sampler, for what moves between or along latents.

    ``decode(state, encode(state, draw(key, index), key, index, given), key, index, given)`` is the
    algorithm's `sample`.

    Attributes:
      draw: ``(key, index) -> z``, float32 [batch, latent] of N(0, I).
      encode: ``(state, z, key, index, condition) -> code``: z itself, or what a network makes of it
        before it makes a sample, such as the styles of all layers [batch, layers, style].
      decode: ``(state, code, key, index, condition) -> samples``; all that is drawn beside the
        latent is that of the samples `index` of the series.
      styled: whether a code is no z, so that straight lines between codes mean something.
      kernels: ``(state) -> kernels``: of each layer of a code the matrix [size, outputs] that it is
        first multiplied by; of a z that of the first layer. None where it is not told.
      noise: ``(state) -> maps``: of a generator of styles, its fixed maps of noise by layer,
        [height, width] each; empty where it adds none. None of other models.
      fit: ``(state, code, maps) -> samples``: `decode` for what looks for a code: with these maps
        as the noise, [batch, height, width] each, and with samples that are not clipped, so that
        they have derivatives everywhere. None where `noise` is.
    """

    draw: Callable[[Key, Index], Array]
    encode: Callable[[State, Array, Key, Index, Condition], Array]
    decode: Callable[[State, Array, Key, Index, Condition], Array]
    styled: bool
    kernels: Callable[[State], list[Array]] | None = None
    noise: Callable[[State], Mapping[str, Any]] | None = None
    fit: Callable[[State, Array, Mapping[str, Any]], Array] | None = None


def plain_latent(
    draw: Callable[[Key, Index], Array],
    decode: Callable[[State, Array, Key, Index, Condition], Array],
) -> Latent:
    """Of a model that makes samples of z at once."""
    return Latent(draw, lambda state, z, key, index, given: z, decode, styled=False)


def sample_by(latent: Latent) -> Callable[[State, Key, Index, Condition], Array]:
    """The sampler whose halves these are."""

    def sample(state: State, key: Key, index: Index, given: Condition) -> Array:
        code = latent.encode(state, latent.draw(key, index), key, index, given)
        return latent.decode(state, code, key, index, given)

    return sample


class Editing(NamedTuple):
    """What a model that was trained on others makes of given examples; nothing is trained for it.

    z is a latent, as `Latent.draw` gives it, and all else that is drawn is that of the samples
    `index` of the series. `known` is bool, broadcasts to the examples and says which of their
    numbers stay. Settings come last and are no arrays; all functions raise UserError for those
    that do not fit how samples are drawn.

    Attributes:
      sdedit: ``(state, z, examples, key, index, condition, strength) -> samples``: as much like the
        examples as a strength in [0, 1] leaves: 0 all, 1 next to nothing.
      repaint: ``(state, z, examples, known, key, index, condition, jump, resamplings) -> samples``.
      guide: ``(state, z, examples, known, key, index, condition, weight) -> samples``.
      invert: ``(state, examples, condition) -> z``, of which `Latent.decode` makes the examples.
    """

    sdedit: Callable[[State, Array, Array, Key, Index, Condition, float], Array]
    repaint: Callable[[State, Array, Array, Array, Key, Index, Condition, int, int], Array]
    guide: Callable[[State, Array, Array, Array, Key, Index, Condition, float], Array]
    invert: Callable[[State, Array, Condition], Array]


class LogLikelihood(NamedTuple):
    """How likely a model finds held-out examples, or bounds on it.

    Attributes:
      values: ``(state, batch, key) -> values`` by name, each of one example, float32 [batch], of
        which the mean over examples is a score.
      parameters: what each depends on beside the model; a part of its protocol.
      slow: whether it is computed only where it is asked for, and of some of the examples.
    """

    values: Callable[[State, Batch, Key], Mapping[str, PerExample]]
    parameters: Mapping[str, Mapping[str, Any]]
    slow: bool = False


class Algorithm(NamedTuple):
    """A family of models, ready to be compiled.

    Attributes:
      spec: what is generated, and from what: the fields `given` are what `sample` takes.
      examples: examples that one step consumes, over all devices.
      init: ``(key) -> state``; everything that training changes, as one pytree.
      step: ``(state, batch) -> (state, metrics)``; one training step, pure and not yet compiled.
      sample: ``(state, key, index, condition) -> samples``; sample number `index[i]` of the series
        that `key` names, from the i-th entry of each array of `condition`, as a model sees its
        target: [batch, *spec.shape]. A sample does not depend on the others in its batch. None of a
        family that makes none.
      evaluate: ``(state, batch, key) -> values`` of held-out data, or None; each value is of one
        example, float32 [batch], and is named ``evaluation/quantity``. ``evaluation/loss`` is one
        of them, by which checkpoints can be ranked.
      show: ``(state, batch, key) -> samples by name``, to be shown beside samples in the order of
        their names, or None. `batch` is as `step` takes it.
      updates: the updates that `step` makes one after the other, by player, each
        ``(state, batch) -> (state, metrics)``, to be measured apart; may be empty.
      signs: ``(config) -> signs`` of collapse that the family's metrics have.
      latent: what `sample` is made of, where that is a latent and what decodes it; or None.
      log_likelihood: of held-out data, for a score; or None.
      frozen: the networks of other runs that it was made with, see `genjax.core.frozen`: all that
        takes a state takes one that has them.
      editing: of given examples, where there is a latent; or None.
    """

    spec: Spec
    examples: int
    init: Callable[[Key], State]
    step: Callable[[State, Batch], tuple[State, Metrics]]
    sample: Callable[[State, Key, Index, Condition], Array] | None
    evaluate: Callable[[State, Batch, Key], Mapping[str, PerExample]] | None = None
    show: Callable[[State, Batch, Key], Mapping[str, Array]] | None = None
    updates: Mapping[str, Callable[[State, Batch], tuple[State, Metrics]]] = MappingProxyType({})
    signs: Callable[[MonitorConfig], list[Sign]] = no_signs
    latent: Latent | None = None
    log_likelihood: LogLikelihood | None = None
    frozen: Mapping[str, Any] = MappingProxyType({})
    editing: Editing | None = None


def at_precision(algorithm: Algorithm, precision: Precision) -> Algorithm:
    """An algorithm all of whose functions are traced with a precision, see `with_precision`."""
    changed: dict[str, Any] = {
        name: with_precision(precision, function)
        for name in ("init", "step", "sample", "evaluate", "show")
        if (function := getattr(algorithm, name)) is not None
    }
    updates = {name: with_precision(precision, x) for name, x in algorithm.updates.items()}
    if (latent := algorithm.latent) is not None:
        changed["latent"] = latent._replace(
            encode=with_precision(precision, latent.encode),
            decode=with_precision(precision, latent.decode),
            fit=latent.fit and with_precision(precision, latent.fit),
        )
    if (likelihood := algorithm.log_likelihood) is not None:
        values = with_precision(precision, likelihood.values)
        changed["log_likelihood"] = likelihood._replace(values=values)
    if (editing := algorithm.editing) is not None:
        changed["editing"] = Editing(*(with_precision(precision, x) for x in editing))
    return algorithm._replace(updates=updates, **changed)


def pmean(tree: Tree, axis_name: str | None) -> Tree:
    """Averages over the devices of a mapped axis; the identity without one."""
    if axis_name is None:
        return tree
    result: Tree = jax.lax.pmean(tree, axis_name)
    return result


def ema_update(average: Tree, new: Tree, decay: float | Float[Array, ""]) -> Tree:
    """Moves an exponential average: ``decay * average + (1 - decay) * new``, leaf by leaf."""
    result: Tree = jax.tree.map(lambda a, n: decay * a + (1 - decay) * n, average, new)
    return result


def global_norm(tree: Any) -> Float[Array, ""]:
    """Euclidean norm of all leaves together, summed in float32."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(x.astype(jnp.float32))) for x in jax.tree.leaves(tree)))
