"""Grids show every image, in order, unchanged but for whole-number enlargement."""

import numpy as np
from PIL import Image

from genjax.domains.domain import Layout, Picture
from genjax.domains.grid import image_grid
from genjax.domains.image import render_images
from genjax.domains.previews import save_previews


def test_layout():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 60, 60, 3), np.uint8)
    grid = image_grid(images, columns=2)
    assert grid.shape == (3 * 62 + 2, 2 * 62 + 2, 3)
    corners = [grid[2 + 62 * (i // 2), 2 + 62 * (i % 2), 0] for i in range(5)]
    assert corners == [0, 1, 2, 3, 4]


def test_small_images_are_enlarged():
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1), dtype=np.uint8)
    grid = image_grid(image)
    assert grid.shape == (60, 60, 1)
    np.testing.assert_array_equal(grid[2:58:7, 2:58:7], image[0])


def test_file(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (4, 28, 28, 1), dtype=np.uint8)
    save_previews(tmp_path / "grid", render_images(images, {}, Layout()))
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "grid.png")), image_grid(images)[..., 0]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_what_is_too_wide_for_a_format_is_written_as_png(tmp_path):
    wide = [Picture(np.zeros((1, 16_384, 1), np.uint8))]
    assert save_previews(tmp_path / "a.webp", wide) == [tmp_path / "a.png"]
    assert save_previews(tmp_path / "b.jpg", wide) == [tmp_path / "b.jpg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.jpg"]


def test_captions_stand_under_their_images():
    """They change no pixel, break between words, and end in dots where they are too long."""
    images = np.random.default_rng(2).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    texts = ["a", "", "a word and another and many more that never come to any end at all, no"]
    grid = image_grid(images, 3, texts)
    for number, image in enumerate(images):
        left = 2 + 114 * number
        np.testing.assert_array_equal(grid[2:114:7, left : left + 112 : 7], image)
    below = [grid[114:-2, 2 + 114 * number : 114 * (number + 1)] for number in range(3)]
    assert below[0].max() > 100
    assert (below[1] == 32).all()
    lines = [part.max() > 100 for part in np.split(below[2], 3)]
    assert lines == [True, True, True]
    assert image_grid(images, 3, ["a"] * 3).shape[0] < grid.shape[0]
