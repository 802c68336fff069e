"""What tests say of the data of a model that they build by hand."""

import jax.numpy as jnp

from genjax.core.algorithm import Algorithm
from genjax.core.schema import Field, Spec
from genjax.data.schema import label_field


def image_spec(size, shape, classes=0):
    """Of `size` images, or other arrays of a shape, that are generated from their labels if any."""
    fields = {"image": Field(tuple(shape), "float32"), **label_field(classes)}
    return Spec(size, fields, "image", ("label",) if classes else ())


def no_samples(state, key, index, condition):
    raise AssertionError("nothing should be drawn")


def stand_in(step, sample=no_samples, init=None, shape=(8, 8, 1), examples=16):
    """An algorithm of a step alone, without a model."""
    return Algorithm(
        spec=image_spec(examples, shape),
        examples=examples,
        init=init or (lambda key: jnp.zeros((), jnp.int32)),
        step=step,
        sample=sample,
    )
