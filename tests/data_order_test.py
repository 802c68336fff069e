"""The data order: a bijection, well mixed, and a function of (seed, step) alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genjax.data.order import batch_indices, permute
from genjax.errors import UserError


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 2**31))
def test_permute_is_a_bijection(size, seed, epoch):
    assert sorted(permute(np.arange(size), size, seed, epoch)) == list(range(size))


def test_all_orders_of_four_are_equally_likely():
    counts: dict[tuple[int, ...], int] = {}
    for epoch in range(600):
        order = tuple(permute(np.arange(4), 4, seed=0, epoch=epoch).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    # Chi-square with 23 degrees of freedom exceeds 49.7 once in a thousand.
    assert sum((count - 25) ** 2 / 25 for count in counts.values()) < 49.7


def test_neighbours_and_epochs_are_uncorrelated():
    orders = np.stack([permute(np.arange(1000), 1000, 5, epoch) for epoch in range(500)])
    assert abs(np.corrcoef(orders[:, :-1].ravel(), orders[:, 1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(orders[:-1].ravel(), orders[1:].ravel())[0, 1]) < 0.01


def test_an_epoch_shows_no_example_twice():
    seen = np.concatenate([batch_indices(step, 8, 50, seed=1) for step in range(6)])
    assert len(set(seen.tolist())) == 48
    again = np.concatenate([batch_indices(step, 8, 50, seed=1) for step in range(6, 12)])
    assert seen.tolist() != again.tolist()


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(UserError, match="needs 51 examples but the data set has 50"):
        batch_indices(0, 51, 50, seed=0)


def test_a_batch_may_lie_in_several_blocks():
    """Positions are permuted many at a time, which must not show."""
    size, batch = 150_000, 40_000
    for step in range(6):
        epoch, place = divmod(step, size // batch)
        positions = np.arange(place * batch, (place + 1) * batch)
        expected = permute(positions, size, 3, epoch)
        np.testing.assert_array_equal(batch_indices(step, batch, size, 3), expected)
