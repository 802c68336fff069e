"""A data set that lies on the devices whole, so that a step picks its batch there."""

import math
from collections.abc import Mapping
from typing import Any

import flax.struct
import numpy as np
from jaxtyping import Array, Int, Shaped

from genjax.core.types import Batch

_LANES = 128


@flax.struct.dataclass
class Held:
    """A field of all examples, a row each, so that a batch is a gather of rows.

    TPUs would lay images out with the number of the example innermost, and turn the whole set
    around in each step; so they would rows that do not fill their lanes of 128 values.

    Attributes:
      rows: [count, values], perhaps more than an example has; [count] of scalars.
      shape: of the field in an example.
    """

    rows: Shaped[Array, "count *values"]
    shape: tuple[int, ...] = flax.struct.field(pytree_node=False)  # type: ignore[no-untyped-call]


def hold(arrays: Mapping[str, Any], platform: str) -> dict[str, Held]:
    """Prepares a data set to be held.

    Args:
      arrays: by field, [count, ...].
      platform: of the devices.

    Returns:
      The same numbers, still where they were.
    """

    def rows(array: Any) -> Any:
        if array.ndim == 1:
            return array
        array = array.reshape(len(array), -1)
        missing = -array.shape[1] % _LANES if platform == "tpu" else 0
        return np.pad(array, [(0, 0), (0, missing)]) if missing else array

    return {name: Held(rows(array), array.shape[1:]) for name, array in arrays.items()}


def pick(held: Mapping[str, Held], numbers: Int[Array, "batch"]) -> Batch:
    """The examples of some numbers.

    Args:
      held: from `hold`, on the devices.
      numbers: int32 [batch].

    Returns:
      Arrays [batch, ...] by field.
    """

    def examples(field: Held) -> Array:
        found = field.rows[numbers]
        if not field.shape:
            return found
        return found[:, : math.prod(field.shape)].reshape(-1, *field.shape)

    return {name: examples(field) for name, field in held.items()}
