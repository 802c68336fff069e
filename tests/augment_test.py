"""Differentiable augmentation (Zhao et al. 2020): what a change did is read off its result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from genjax.errors import UserError
from genjax.families.gan.augment import AUGMENTATIONS, make_augmentation

KEY = jax.random.key(5)
COUNT = 400
KEYS = jax.random.split(KEY, COUNT)
RNG = np.random.default_rng(0)
# All values away from 0, so that what is filled in shows.
RGB = RNG.uniform(0.1, 0.9, (6, 9, 3)).astype(np.float32)
GREY = RNG.uniform(0.1, 0.9, (16, 24, 1)).astype(np.float32)


def many(name, image, keys=KEYS):
    """One image under many keys, in float64."""
    change = jax.jit(jax.vmap(AUGMENTATIONS[name], in_axes=(None, 0)))
    return np.float64(change(jnp.asarray(image), keys))


def color_factors(image, changed):
    """(brightness, saturation, contrast) of a change of colours, which must be nothing else.

    Written out, ``y = M + b + c (m - M) + c s (x - m)`` with m the mean of a pixel and M of the
    image.
    """
    x = np.float64(image)
    pixel, whole = x.mean(-1, keepdims=True), x.mean()
    parts = [np.ones_like(x), np.broadcast_to(pixel - whole, x.shape), x - pixel]
    matrix = np.stack([part.ravel() for part in parts], axis=1)
    solution = np.linalg.lstsq(matrix, changed.ravel(), rcond=None)[0]
    np.testing.assert_allclose(matrix @ solution, changed.ravel(), atol=1e-5)
    offset, contrast, both = solution
    return offset - whole, both / contrast, contrast


def shift(image, down, right):
    """A roll whose wrapped rows and columns are zero."""
    result = np.roll(image, (down, right), (0, 1))
    result[: max(down, 0)] = 0
    result[image.shape[0] + min(down, 0) :] = 0
    result[:, : max(right, 0)] = 0
    result[:, image.shape[1] + min(right, 0) :] = 0
    return result


def offsets(image, changed, reach):
    """The one (down, right) that a shift can have been."""
    steps = [(a, b) for a in range(-reach[0], reach[0] + 1) for b in range(-reach[1], reach[1] + 1)]
    found = [step for step in steps if np.array_equal(shift(image, *step), changed)]
    assert len(found) == 1
    return found[0]


def hole(image, changed):
    """(rows, columns) of the rectangle that is zero; everything else must be unchanged."""
    zero = (changed == 0).all(-1)
    rows, columns = np.flatnonzero(zero.any(1)), np.flatnonzero(zero.any(0))
    assert np.array_equal(zero, np.outer(zero.any(1), zero.any(0)))
    assert np.array_equal(changed[~zero], image[~zero])
    for side in (rows, columns):
        assert np.array_equal(side, np.arange(side[0], side[-1] + 1))
    return rows, columns


def uniform(values, low, high):
    """Whether values spread evenly over [low, high], up to its ends."""
    end, rounding = 0.02 * (high - low), 1e-4
    assert low - rounding <= values.min() < low + end
    assert high - end < values.max() <= high + rounding
    return stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.01


def check_color():
    factors = np.array([color_factors(RGB, y) for y in many("color", RGB)])
    brightness, saturation, contrast = factors.T
    assert uniform(brightness, -0.5, 0.5)
    assert uniform(saturation, 0, 2)
    assert uniform(contrast, 0.5, 1.5)
    assert np.abs(np.corrcoef(factors.T) - np.eye(3)).max() < 0.2


def check_translation():
    found = [offsets(GREY, y, (2, 3)) for y in many("translation", GREY)]
    for axis, reach in ((0, 2), (1, 3)):
        counts = np.bincount([step[axis] + reach for step in found], minlength=2 * reach + 1)
        assert stats.chisquare(counts).pvalue > 0.01
    assert len(set(found)) == 5 * 7


def check_cutout():
    """The centre is anywhere on the image, so that the borders cut rectangles off."""
    expected_rows = {
        tuple(range(max(0, c - 4), min(16, c + 4))) for c in range(17)
    }  # 8 of 16 rows, even
    expected_columns = {tuple(range(max(0, c - 6), min(24, c + 6))) for c in range(25)}
    holes = [hole(GREY, y) for y in many("cutout", GREY)]
    for axis, expected in ((0, expected_rows), (1, expected_columns)):
        seen = [tuple(map(int, sides[axis])) for sides in holes]
        assert set(seen) == expected
        counts = [seen.count(side) for side in expected]
        assert stats.chisquare(counts).pvalue > 0.01


CHECKS = {"color": check_color, "cutout": check_cutout, "translation": check_translation}


def test_every_augmentation_has_a_check_here():
    assert set(CHECKS) == set(AUGMENTATIONS)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_changes_and_their_distribution(name):
    CHECKS[name]()


def test_saturation_leaves_grey_images_alone():
    """With one channel, or three equal ones, only brightness and contrast are left."""
    whole = np.float64(GREY).mean()
    slopes = []
    for image in (GREY, GREY.repeat(3, -1)):
        for y in many("color", image, KEYS[:50]):
            slope, offset = np.polyfit(np.float64(image).ravel() - whole, y.ravel(), 1)
            np.testing.assert_allclose(offset + slope * (image - whole), y, atol=1e-5)
            assert 0.5 <= slope <= 1.5
            assert -0.5 <= offset - whole <= 0.5
            slopes.append(slope)
    np.testing.assert_allclose(slopes[:50], slopes[50:], rtol=1e-4)


@pytest.mark.parametrize(("side", "reach"), [(4, 1), (8, 1), (28, 4), (32, 4)])
def test_reach_of_translation(side, reach):
    """An eighth of the side, rounded half up as in the authors' code."""
    image = np.arange(1, side + 1, dtype=np.float32)[:, None, None] * np.ones((1, side, 1))
    changed = many("translation", image.astype(np.float32), KEYS[:60])
    tops = {int(y.max()) for y in changed}
    assert tops == set(range(side - reach, side + 1))


def test_cutout_of_an_odd_side():
    """4 of 7 rows: half of the side, rounded half up."""
    image = np.ones((7, 7, 1), np.float32)
    heights = {len(hole(image, y)[0]) for y in many("cutout", image, KEYS[:60])}
    assert heights == {2, 3, 4}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_gradients_flow_to_the_image(name):
    """All changes are affine in the image: the gradient is what the change undone says."""
    image, key = jnp.asarray(RGB), KEYS[7]
    weight = RNG.normal(size=RGB.shape)
    change = AUGMENTATIONS[name]

    def both(x):
        y, back = jax.vjp(lambda x: change(x, key), x)
        return y, back(jnp.float32(weight))[0]

    changed, gradient = jax.jit(both)(image)
    changed = np.float64(changed)
    if name == "color":
        _, saturation, contrast = color_factors(RGB, changed)
        # The change is its own adjoint, without the brightness.
        w = contrast * weight + (1 - contrast) * weight.mean()
        expected = saturation * w + (1 - saturation) * w.mean(-1, keepdims=True)
    elif name == "translation":
        down, right = offsets(RGB, changed, (1, 1))
        assert (down, right) != (0, 0)
        expected = shift(weight, -down, -right)
    else:
        rows, columns = hole(RGB, changed)
        expected = weight.copy()
        expected[np.ix_(rows, columns)] = 0
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def augment():
    return jax.jit(make_augmentation(("color", "translation", "cutout")))


def test_each_example_draws_for_itself(augment):
    images = jnp.asarray(np.stack([RGB] * 4))
    index = jnp.arange(4)
    whole = augment(images, KEY, index)
    assert len(np.unique(np.asarray(whole).reshape(4, -1), axis=0)) == 4
    # Neither the neighbours nor the place on a device matter, but the place in the whole batch.
    other = augment(images.at[:2].set(0.5), KEY, index)
    np.testing.assert_array_equal(other[2:], whole[2:])
    swapped = augment(images, KEY, index[::-1])
    np.testing.assert_array_equal(swapped, whole[::-1])
    assert not np.array_equal(augment(images, jax.random.key(6), index), whole)


def test_names_in_order():
    """What is cut out last stays zero; what is cut out first is recoloured."""
    images, index = jnp.asarray(np.stack([RGB] * 4)), jnp.arange(4)
    last = np.asarray(jax.jit(make_augmentation(("color", "cutout")))(images, KEY, index))
    first = np.asarray(jax.jit(make_augmentation(("cutout", "color")))(images, KEY, index))
    cut = last == 0
    assert cut.any((1, 2, 3)).all()
    assert (first[cut] != 0).all()
    # The same draws either way: what was zero has one colour in each image.
    for image, where in zip(first, cut, strict=True):
        np.testing.assert_allclose(image[where], image[where][0], atol=1e-6)


def test_no_names_change_nothing():
    images = jnp.asarray(RGB)[None]
    np.testing.assert_array_equal(make_augmentation(())(images, KEY, jnp.arange(1)), images)


def test_unknown_names_list_the_choices():
    with pytest.raises(UserError, match="augmentation 'colour'; did you mean 'color'"):
        make_augmentation(("colour",))
