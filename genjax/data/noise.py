"""Examples that mean nothing, of any schema, to measure and to test with."""

import numpy as np

from genjax.core.schema import Schema


def noise(schema: Schema, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draws examples, each value evenly from those that its field can have.

    Args:
      schema: of the examples.
      count: how many.
      seed: of the draws.

    Returns:
      Arrays [count, ...] by field; floats are in [-1, 1], on 256 levels.
    """
    generator = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for name, field in schema.fields.items():
        shape = (count, *field.shape)
        if field.levels:
            found[name] = generator.integers(0, field.levels, shape, dtype=field.dtype)
        elif field.dtype == "float32":
            levels = generator.integers(0, 256, shape, dtype=np.uint8)
            found[name] = levels.astype(np.float32) / np.float32(127.5) - 1
        else:
            limits = np.iinfo(field.dtype)
            found[name] = generator.integers(limits.min, limits.max + 1, shape, dtype=field.dtype)
    return found
