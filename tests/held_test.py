"""A data set on the devices: a batch picked there is the one that the host gathers."""

import numpy as np
import pytest

from genjax.core.held import hold, pick


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_what_is_picked_is_what_was_held(platform):
    generator = np.random.default_rng(0)
    arrays = {
        "image": generator.integers(0, 255, (40, 5, 5, 3), np.uint8),
        "label": generator.integers(0, 9, 40, np.int32),
        "wide": generator.normal(size=(40, 128)).astype(np.float32),
    }
    numbers = np.asarray([3, 39, 3, 0], np.int32)
    held = hold(arrays, platform)
    # Rows fill the lanes of a TPU.
    assert held["image"].rows.shape == (40, 128 if platform == "tpu" else 75)
    assert held["wide"].rows.shape == (40, 128)
    for name, found in pick(held, numbers).items():
        np.testing.assert_array_equal(found, arrays[name][numbers])
        assert found.dtype == arrays[name].dtype
