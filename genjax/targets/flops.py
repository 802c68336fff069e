"""How many floating-point operations a step needs, by a formula for each of its products.

A multiply-add counts 2. Only convolutions and matrix products count, forward and in gradients:

    matrix product    2 rows inputs columns
    convolution       2 B T_height T_width (C_in / groups) C_out

T is how often, along an axis, a tap of the kernel on a place of the output meets a pixel of the
input: k times the output's length, less what falls on padding or on the zeros that a transposed
convolution puts between pixels. A kernel of 5 that takes 28 pixels to 14 falls on padding 3 times,
so T = 5 * 14 - 3; its gradients, by the input and by the kernel, have the same T with the roles
changed, so each costs as much as the forward pass.

They are read from the step as it is traced, with every operation in the form that XLA has for it:
what the forms of a platform multiply by zero, or what `remat` computes again, is no useful work.
Norms, activations and optimizers do not count. A scan counts as often as it runs, a branch as its
most expensive side, a loop without a known end once, and what no result needs not at all.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.extend
import numpy as np

from genjax.config import Experiment
from genjax.core.compiler import REFERENCE, traced_for
from genjax.core.frozen import state_shapes
from genjax.core.schema import Schema
from genjax.run.opening import open_algorithm


class Product(NamedTuple):
    """A convolution or a matrix product of a step.

    Attributes:
      scope: where it was traced, as JAX names it: modules and transformations.
      flops: of all times that it runs.
    """

    scope: str
    flops: int


def count_meetings(
    inputs: int, outputs: int, taps: int, stride: int, before: int, spread: int, between: int
) -> int:
    """How often a tap of a convolution meets a value of its input, along one axis.

    Args:
      inputs: values of the input.
      outputs: places of the output.
      taps: of the kernel.
      stride: step of the window.
      before: zeros before the input; negative where it is cut.
      spread: step between values of the input, which zeros fill.
      between: step between taps of the kernel.

    Returns:
      The number.

    Example:
      >>> count_meetings(28, 14, taps=5, stride=2, before=1, spread=1, between=1)
      67
    """
    place = np.arange(outputs)[:, None] * stride + np.arange(taps) * between - before
    met = (place >= 0) & (place <= (inputs - 1) * spread) & (place % spread == 0)
    return int(met.sum())


def _dot_flops(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)


def _convolution_flops(equation: Any) -> int:
    params = equation.params
    numbers = params["dimension_numbers"]
    x, kernel = (variable.aval.shape for variable in equation.invars)
    y = equation.outvars[0].aval.shape
    meetings = math.prod(
        count_meetings(x[i], y[o], kernel[k], stride, before, spread, between)
        for i, o, k, stride, (before, _), spread, between in zip(
            numbers.lhs_spec[2:],
            numbers.out_spec[2:],
            numbers.rhs_spec[2:],
            params["window_strides"],
            params["padding"],
            params["lhs_dilation"],
            params["rhs_dilation"],
            strict=True,
        )
    )
    batch, features = (y[axis] for axis in numbers.out_spec[:2])
    return 2 * batch * features * kernel[numbers.rhs_spec[1]] * meetings


_COUNTED: dict[str, Callable[[Any], int]] = {
    "dot_general": _dot_flops,
    "conv_general_dilated": _convolution_flops,
}


def _needed(jaxpr: Any, outputs: Sequence[bool]) -> list[tuple[Any, list[bool]]]:
    """The equations of a program that some needed output depends on, and which of theirs are."""
    alive = {v for v, need in zip(jaxpr.outvars, outputs, strict=True) if need and _is_named(v)}
    found = []
    for equation in reversed(jaxpr.eqns):
        needs = [variable in alive for variable in equation.outvars]
        if any(needs):
            found.append((equation, needs))
            alive.update(filter(_is_named, equation.invars))
    return found[::-1]


def _is_named(variable: Any) -> bool:
    return not isinstance(variable, jax.extend.core.Literal)


def _products(jaxpr: Any, needs: Sequence[bool], scope: str, times: int) -> Iterator[Product]:
    for equation, used in _needed(jaxpr, needs):
        own = "/".join(filter(None, (scope, str(equation.source_info.name_stack))))
        name = equation.primitive.name
        if name in _COUNTED:
            yield Product(own, times * _COUNTED[name](equation))
        elif name == "cond":
            sides = [
                list(_products(side.jaxpr, used, own, times))
                for side in equation.params["branches"]
            ]
            yield from max(sides, key=lambda side: sum(product.flops for product in side))
        else:
            again = times * equation.params.get("length", 1) if name == "scan" else times
            for inner in jax.extend.core.jaxprs_in_params(equation.params):
                # What a loop carries is needed by its next turn.
                same = name not in ("scan", "while") and len(inner.outvars) == len(used)
                yield from _products(
                    inner, used if same else [True] * len(inner.outvars), own, again
                )


def products_of(function: Callable[..., Any], *arguments: Any) -> list[Product]:
    """Lists the convolutions and matrix products of a function, without computing anything.

    Args:
      function: any that JAX can trace.
      arguments: of it, arrays or their shapes.

    Returns:
      Those that cost something, in the order in which they are traced.
    """
    traced = jax.make_jaxpr(traced_for(REFERENCE, function))(*arguments)
    needs = [True] * len(traced.jaxpr.outvars)
    return [product for product in _products(traced.jaxpr, needs, "", 1) if product.flops]


def count_flops(experiment: Experiment, schema: Schema, part: str = "step") -> int:
    """Floating-point operations of a step, or of a part of it.

    Args:
      experiment: the configuration.
      schema: of the data.
      part: ``step``, or one of the algorithm's updates, such as ``discriminator`` or ``generator``.

    Returns:
      The number, over all devices.
    """
    return sum(product.flops for product in step_products(experiment, schema, part))


def step_products(experiment: Experiment, schema: Schema, part: str = "step") -> list[Product]:
    """Lists the convolutions and matrix products of a step; arguments as of `count_flops`."""
    algorithm = open_algorithm(experiment, schema)
    function = algorithm.step if part == "step" else algorithm.updates[part]
    state = state_shapes(algorithm)
    batch = {
        name: jax.ShapeDtypeStruct((algorithm.examples, *field.shape), field.dtype)
        for name, field in schema.fields.items()
    }
    return products_of(function, state, batch)
