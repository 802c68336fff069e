"""StyleGAN2-ADA's augmentation against other computations of the same in float64."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import fft, ndimage, signal, stats
from scipy.spatial.transform import Rotation

from genjax.core.compiler import traced_for
from genjax.errors import UserError
from genjax.families.gan import ada
from genjax.families.warp import reflected

KEY = jax.random.key(3)
RNG = np.random.default_rng(0)
# Not square, so that sides can't be taken for each other, and of both parities.
RGB = RNG.uniform(-1, 1, (2, 11, 14, 3)).astype(np.float32)
GREY = RNG.uniform(-1, 1, (2, 9, 8, 1)).astype(np.float32)
GEOMETRY = (*ada.GROUPS["blit"], *ada.GROUPS["geom"])
# Of two examples.
CHANGES = {
    "xflip": [1, 0],
    "rotate90": [1, 3],
    "xint": [[0.12, -0.11], [-0.08, 0.06]],
    "scale": [0.8, 1.3],
    "rotate": [[0.4, -1.1], [2.9, 0.2]],
    "aniso": [1.2, 0.85],
    "xfrac": [[0.07, -0.13], [-0.21, 0.02]],
    "brightness": [0.3, -0.4],
    "contrast": [1.4, 0.7],
    "lumaflip": [0, 1],
    "hue": [1.1, -2.2],
    "saturation": [0.3, 2.1],
    "filter": [[0.7, 1.6, 0.4, 1.2], [1.9, 0.8, 1.1, 0.5]],
    "cutout": [[0.1, 0.4], [0.7, 0.95]],
}


def changes_of(names, images):
    found = {name: np.float32(CHANGES[name]) for name in names if name != "noise"}
    if "noise" in names:
        found["noise"] = np.random.default_rng(7).normal(size=images.shape).astype(np.float32)
    return found


# ---- the same in another way ----


# fmt: off
SYM6 = np.array([
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
])
# fmt: on


def filtered(image, taps, axis, up=1, down=1):
    return signal.upfirdn(taps, image, up=up, down=down, axis=axis)


def reference_places(change, height, width):
    """Where in the image each place (complex, from the centre) of the enlarged result lies."""
    # Every other one is a pixel of the image, the sixth the first.
    right, below = (np.arange(-6, 2 * s + 6) / 2 - (s - 1) / 2 for s in (width, height))
    place = right + 1j * below[:, None]
    if "xfrac" in change:
        place = place - complex(change["xfrac"][0] * width, change["xfrac"][1] * height)
    first, last = change.get("rotate", (0, 0))
    place = place * np.exp(1j * last)
    aniso = change.get("aniso", 1)
    place = place.real / aniso + 1j * place.imag * aniso
    place = place * np.exp(1j * first) / change.get("scale", 1)
    if "xint" in change:
        place = place - complex(round(change["xint"][0] * width), round(change["xint"][1] * height))
    place = place * 1j ** change.get("rotate90", 0)
    return place if not change.get("xflip", 0) else -place.conjugate()


def reference_geometry(image, change):
    """Reflected, doubled, read and halved, with PyWavelets' sym6 normed to a sum of 1."""
    height, width, _ = image.shape
    taps = SYM6 / SYM6.sum()
    border = ((height - 1, height - 1), (width - 1, width - 1), (0, 0))
    image = np.pad(image, border, mode="reflect")
    for axis in (0, 1):
        length = 2 * image.shape[axis]
        image = filtered(image, 2 * taps, axis, up=2).take(range(5, 5 + length), axis)
    place = reference_places(change, height, width)
    rows = 2 * (place.imag + (height - 1) * 3 / 2)
    columns = 2 * (place.real + (width - 1) * 3 / 2)
    image = np.stack(
        [
            ndimage.map_coordinates(image[..., c], (rows, columns), order=1, mode="grid-constant")
            for c in range(image.shape[-1])
        ],
        axis=-1,
    )
    for axis, side in ((0, height), (1, width)):
        image = filtered(image, taps[::-1], axis, down=2).take(range(6, 6 + side), axis)
    return image


def reference_color(image, change):
    """One after the other on points of red, green and blue; grey is the mean of three channels."""
    grey = image.shape[-1] == 1
    x = image.repeat(3, -1) if grey else image
    x = (x + change.get("brightness", 0)) * change.get("contrast", 1)
    x = x - 2 * change.get("lumaflip", 0) * x.mean(-1, keepdims=True)
    turn = Rotation.from_rotvec(change.get("hue", 0) * np.ones(3) / math.sqrt(3))
    x = turn.apply(x.reshape(-1, 3)).reshape(x.shape)
    mean = x.mean(-1, keepdims=True)
    x = mean + (x - mean) * change.get("saturation", 1)
    return x.mean(-1, keepdims=True) if grey else x


def reference_filter(image, change):
    """By the cosine transform whose waves go on mirrored, and the response of each octave.

    ``P = |H|^2 / 2`` of the low-pass filter sym2, and ``Q = 1 - P``.
    """
    gain = np.ones(4)
    for band in range(4):
        each = np.ones(4)
        each[band] = change["filter"][band]
        gain *= each / np.sqrt(np.dot([10 / 13, 1 / 13, 1 / 13, 1 / 13], each**2))
    low = np.array([-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469])

    def passed(frequency):
        return np.abs(np.exp(-1j * np.multiply.outer(frequency, np.arange(4))) @ low) ** 2 / 2

    for axis in (0, 1):
        side = image.shape[axis]
        w = np.pi * np.arange(side) / (side - 1)
        one, two, four = passed(w), passed(2 * w), passed(4 * w)
        response = gain @ [one * two * four, one * two * (1 - four), one * (1 - two), 1 - one]
        response = response[:, None, None] if axis == 0 else response[:, None]
        image = fft.idct(fft.dct(image, 1, axis=axis) * response, 1, axis=axis)
    return image


def reference_cutout(image, change):
    image = image.copy()
    height, width, _ = image.shape
    for row in range(height):
        for column in range(width):
            x, y = (column + 0.5) / width, (row + 0.5) / height
            if max(abs(x - change["cutout"][0]), abs(y - change["cutout"][1])) < 0.25:
                image[row, column] = 0
    return image


def reference(images, changes):
    results = []
    for place, image in enumerate(np.float64(images)):
        change = {name: np.float64(numbers[place]) for name, numbers in changes.items()}
        if change.keys() & {*GEOMETRY}:
            image = reference_geometry(image, change)
        if change.keys() & {*ada.GROUPS["color"]}:
            image = reference_color(image, change)
        if "filter" in change:
            image = reference_filter(image, change)
        image = image + change.get("noise", 0)
        if "cutout" in change:
            image = reference_cutout(image, change)
        results.append(image)
    return np.stack(results)


PARTS = {
    **{name: (name,) for name in ada.OPERATIONS},
    "bgc": (*GEOMETRY, *ada.GROUPS["color"]),
    "everything": tuple(ada.OPERATIONS),
}


@functools.cache
def compiled(platform="cpu"):
    return jax.jit(traced_for(platform, ada.change))


@pytest.mark.parametrize("images", [RGB, GREY], ids=["rgb", "grey"])
@pytest.mark.parametrize("part", PARTS)
def test_changes(part, images):
    changes = changes_of(PARTS[part], images)
    changed = compiled()(images, changes)
    assert changed.shape == images.shape
    expected = reference(images, changes)
    np.testing.assert_allclose(changed, expected, rtol=1e-5, atol=1e-5)
    colours = part in ("hue", "saturation") and images is GREY
    assert (
        np.abs(expected - images).max() < 1e-9 if colours else np.abs(expected - images).max() > 0.1
    )


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
@pytest.mark.parametrize("scale", [0.15, 6.0])
def test_what_lies_beyond_the_border_is_zero(scale, platform):
    """The border is a side less one pixel wide, as wide as the authors' code makes it."""
    changes = {"scale": np.float32([scale, 1]), "xfrac": np.float32([[0, 0], [2.6, -2.2]])}
    changed = np.asarray(compiled(platform)(RGB, changes))
    np.testing.assert_allclose(changed, reference(RGB, changes), rtol=1e-5, atol=1e-5)
    assert (changed[0] == 0).any() == (scale < 1)


def test_pixels_are_read_one_by_one_but_on_tpus():
    changes = changes_of(GEOMETRY, RGB)
    expected = reference(RGB, changes)
    for platform in ("cpu", "gpu", "tpu"):
        change = compiled(platform)
        text = str(jax.make_jaxpr(change)(RGB, changes))
        assert ("gather" in text, "scan" in text) == (platform != "tpu", platform == "tpu")
        np.testing.assert_allclose(change(RGB, changes), expected, rtol=1e-5, atol=1e-5)


def test_reflection():
    assert reflected(np.arange(-5, 9), 4).tolist() == [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert reflected(np.arange(-2, 3), 1).tolist() == [0] * 5


def test_an_image_smaller_than_the_filters_is_reflected_again():
    """Its taps reach further than an image of 9 pixels and its border."""
    image = RNG.uniform(-1, 1, (1, 6, 5, 1)).astype(np.float32)
    changes = {"filter": np.float32([[0.7, 1.6, 0.4, 1.2]])}
    np.testing.assert_allclose(compiled()(image, changes), reference(image, changes), atol=1e-5)


# ---- derivatives ----


def affine(changes, shape):
    """The matrix and offset of a change of the first of two images, by the reference."""
    first = {name: numbers[:1] for name, numbers in changes.items()}
    size = math.prod(shape)
    offset = reference(np.zeros((1, *shape)), first).ravel()
    unit = np.eye(size).reshape(size, 1, *shape)
    return np.stack([reference(x, first).ravel() - offset for x in unit], axis=1), offset


@pytest.mark.parametrize(
    ("part", "platform"),
    [("bgc", "cpu"), ("bgc", "gpu"), ("bgc", "tpu"), ("everything", "cpu")],
)
def test_derivatives(part, platform):
    """``R = |grad_x tanh(w . T(x))|^2`` and its gradient by w, with T as a matrix."""
    image = RNG.uniform(-1, 1, (1, 4, 5, 3)).astype(np.float32)
    changes = {name: x[:1] for name, x in changes_of(PARTS[part], image).items()}
    weight = RNG.normal(size=image.size).astype(np.float32) / 10
    matrix, offset = affine(changes, image.shape[1:])

    def gradient(weight, x):
        return jax.grad(lambda x: jnp.tanh(jnp.vdot(weight, ada.change(x, changes))))(x)

    def penalty(weight):
        first = gradient(weight, image)
        return jnp.sum(first**2), first

    (value, first), second = jax.jit(
        traced_for(platform, jax.value_and_grad(penalty, has_aux=True))
    )(weight)
    w = np.float64(weight)
    changed = matrix @ np.float64(image).ravel() + offset
    s, pulled = np.tanh(w @ changed), matrix.T @ w
    slope, size = 1 - s**2, np.sum(pulled**2)
    np.testing.assert_allclose(np.ravel(first), slope * pulled, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(value, slope**2 * size, rtol=1e-4)
    expected = 2 * slope**2 * (matrix @ pulled) - 4 * s * slope**2 * size * changed
    np.testing.assert_allclose(second, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


# ---- draws ----

COUNT = 1500
INDEX = jnp.arange(COUNT)


@functools.cache
def drawn(p, share):
    """All operations for many examples, in float64."""
    shares = dict.fromkeys(ada.OPERATIONS, share)
    keys = jax.random.split(KEY, COUNT)
    run = jax.jit(jax.vmap(lambda key, p: ada.draw(key, p, shares, (2, 2, 1)), (0, None)))
    return {name: np.float64(numbers) for name, numbers in run(keys, p).items()}


def happened(name, numbers):
    return (numbers != np.float32(ada.OPERATIONS[name].neutral)).reshape(COUNT, -1).any(1)


UNIFORM = {"xint": 1 / 8, "rotate": math.pi, "hue": math.pi}
NORMAL = {"xfrac": 1 / 8, "brightness": 0.2}
FACTOR = {"scale": 0.2, "aniso": 0.2, "contrast": 0.5, "saturation": 1, "filter": 1}


@pytest.mark.parametrize("name", ada.OPERATIONS)
def test_distribution_at_full_strength(name):
    numbers = drawn(1.0, 1.0)[name].ravel()
    counts = {"xflip": 2, "rotate90": 4, "lumaflip": 2}
    if name in counts:
        observed = np.bincount(numbers.astype(int), minlength=counts[name])
        p = stats.chisquare(observed).pvalue
        assert len(observed) == counts[name]
    elif name == "cutout":
        p = stats.kstest(numbers, "uniform").pvalue
    elif name == "noise":
        # |size| x with both normal: the product of two.
        p = stats.ks_2samp(
            drawn(1.0, 1.0)[name][:, 0, 0, 0],
            0.1 * np.prod(np.random.default_rng(1).normal(size=(2, 100_000)), axis=0),
        ).pvalue
        sizes = np.abs(drawn(1.0, 1.0)[name]).reshape(COUNT, -1).max(1)
        assert np.corrcoef(sizes, np.abs(drawn(1.0, 1.0)[name][:, 0, 0, 0]))[0, 1] > 0.5
    elif name in UNIFORM:
        p = stats.kstest(numbers / UNIFORM[name], stats.uniform(-1, 2).cdf).pvalue
    elif name in NORMAL:
        p = stats.kstest(numbers / NORMAL[name], "norm").pvalue
    else:
        p = stats.kstest(np.log2(numbers) / FACTOR[name], "norm").pvalue
    assert p > 1e-3


@pytest.mark.parametrize("name", ada.OPERATIONS)
@pytest.mark.parametrize(("p", "share"), [(0.4, 1.0), (0.8, 0.5), (1.5, 0.5)])
def test_how_often(name, p, share):
    """With probability p times the share; of a number that is drawn neutral, less often."""
    times = happened(name, drawn(p, share)[name]).sum()
    chance = p * share
    if name == "filter":
        chance = 1 - (1 - chance) ** 4
    chance *= {"xflip": 1 / 2, "rotate90": 3 / 4, "lumaflip": 1 / 2}.get(name, 1)
    assert stats.binomtest(int(times), COUNT, chance).pvalue > 1e-3


def test_operations_are_independent():
    events = np.stack([happened(name, x) for name, x in drawn(0.4, 1.0).items()])
    assert np.abs(np.corrcoef(events) - np.eye(len(events))).max() < 0.12
    turns = drawn(0.4, 1.0)["rotate"] != 0
    assert abs(np.corrcoef(turns.T)[0, 1]) < 0.12


def test_strengths_of_0_and_beyond_1():
    assert not any(happened(name, x).any() for name, x in drawn(0.0, 1.0).items())
    always = drawn(1.5, 1.0)
    np.testing.assert_array_equal(always["scale"], drawn(1.0, 1.0)["scale"])
    assert happened("rotate", always["rotate"]).all()


# ---- all of it ----


@functools.cache
def augment(shape):
    make = ada.make_ada({"blit": 1, "geom": 1, "color": 1, "filter": 1, "cutout": 1}, shape)
    return jax.jit(lambda images, key, index, p: make(key, index, p)(images))


@pytest.mark.parametrize("images", [RGB, GREY], ids=["rgb", "grey"])
def test_without_strength_images_stay(images):
    same = augment(images.shape[1:])(images, KEY, jnp.arange(2), 0.0)
    np.testing.assert_allclose(same, images, atol=3e-6)


def test_each_example_draws_for_itself():
    images, index = jnp.asarray(np.stack([RGB[0]] * 4)), jnp.arange(4)
    run = augment(RGB.shape[1:])
    whole = run(images, KEY, index, 1.0)
    assert len(np.unique(np.asarray(whole).reshape(4, -1), axis=0)) == 4
    other = run(images.at[:2].set(0.5), KEY, index, 1.0)
    np.testing.assert_array_equal(other[2:], whole[2:])
    swapped = run(images, KEY, index[::-1], 1.0)
    np.testing.assert_array_equal(swapped, whole[::-1])
    assert not np.array_equal(run(images, jax.random.key(6), index, 1.0), whole)


def test_shares():
    assert ada.shares_of({}) == {}
    assert ada.shares_of({"cutout": 0.5, "xflip": 0, "blit": 1}) == {
        "rotate90": 1,
        "xint": 1,
        "cutout": 0.5,
    }
    # In whatever order they come, an operation's own share is the one that counts.
    for config in ({"hue": 0.3, "color": 1}, {"color": 1, "hue": 0.3}):
        assert list(ada.shares_of(config).values()) == [1, 1, 1, 0.3, 1]
    grouped = [name for names in ada.GROUPS.values() for name in names]
    assert grouped == list(ada.OPERATIONS)[: len(grouped)]


def test_no_operations_change_nothing():
    images = jnp.asarray(RGB)
    assert ada.make_ada({}, RGB.shape[1:])(KEY, jnp.arange(2), 1.0)(images) is images


def test_unknown_operations_list_the_choices():
    with pytest.raises(UserError, match=r"operation of ada 'xflop'; did you mean 'xflip'.* blit, "):
        ada.make_ada({"xflop": 1.0}, RGB.shape[1:])
