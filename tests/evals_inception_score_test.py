"""The Inception score against torch-fidelity, and closed forms at the edges."""

import numpy as np
import pytest

from genjax.errors import UserError
from genjax.evals.inception_score import inception_score

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("count", "scale"), [(1003, 1), (1003, 30), (25, 5)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_against_torch_fidelity(torchvision, count, scale, shuffle):
    torch = pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")
    theirs = pytest.importorskip(
        "torch_fidelity.metric_isc", reason="needs the extra genjax-models[parity]"
    )
    logits = (scale * RNG.normal(size=(count, 12))).astype(np.float32)
    wanted = theirs.isc_features_to_metric(torch.tensor(logits), 10, shuffle, 2020)
    if shuffle:
        logits = logits[np.random.RandomState(2020).permutation(count)]
    found = inception_score(logits, None, 10)
    np.testing.assert_allclose(found.value, wanted["inception_score_mean"], rtol=1e-10)
    np.testing.assert_allclose(found.std, wanted["inception_score_std"], rtol=1e-8)


@pytest.mark.parametrize(
    ("logits", "wanted"),
    [
        (np.zeros((40, 4)), 1),
        (1e5 * np.eye(4)[np.arange(40) % 4], 4),
        (1e5 * np.eye(4)[np.zeros(40, int)], 1),
        (
            np.log(
                np.eye(4)[np.arange(40) % 4],
                where=np.eye(4)[np.arange(40) % 4] > 0,
                out=np.full((40, 4), -np.inf),
            ),
            4,
        ),
        # Of the third class each has 1e-320, which is not a normal number.
        (np.float64([[0, -np.inf, -737, -800], [-np.inf, 0, -737, -900]] * 20), 2),
    ],
    ids=["uniform", "sure and even", "sure of one", "minus infinity", "underflow"],
)
def test_extremes(logits, wanted):
    found = inception_score(logits, None, 2)
    np.testing.assert_allclose(found, [wanted, 0], rtol=1e-12, atol=1e-12)


def test_seed_deals_the_samples():
    """In their order, each split would see one class."""
    logits = 20 * np.eye(4)[np.arange(40) // 10]
    assert inception_score(logits, None, 4).value == pytest.approx(1, abs=1e-6)
    first, again, other = (inception_score(logits, seed, 4) for seed in (1, 1, 2))
    assert 2 < first.value < 4
    assert first == again != other
    assert inception_score(logits, 0, 40) == pytest.approx((1, 0))


@pytest.mark.parametrize(
    ("splits", "message"), [(41, "40 samples can't fill 41 splits"), (0, "splits is 0")]
)
def test_what_cannot_be_split(splits, message):
    with pytest.raises(UserError, match=message):
        inception_score(np.zeros((40, 4)), None, splits)
