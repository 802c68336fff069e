"""Projection of images to latents."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_process import contents, genjax, refusal
from PIL import Image
from safetensors import safe_open

from genjax.config import DataConfig, GANSampling
from genjax.data.given import read_given
from genjax.data.images import resize
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.evals.features import from_function
from genjax.run.latents import latent_of, open_for_images
from genjax.run.projection import (
    Search,
    maps_penalty,
    noise_share,
    normalize_maps,
    project,
    step_size,
    view_distance,
    view_images,
)
from genjax.run.sampling import sample_run

RNG = np.random.default_rng(0)
PLAIN = ("--model.generator.name", "mlp", "--model.generator.width", 16, "--model.latent", 6)
PIXELS = ("--features", "pixels", "--steps", 2)
DIGITS = load(DataConfig("digits", split="test")).read(np.arange(3))["image"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "run"
    flags = ("--batch-size", 8, "--steps", 2, "--eval.samples", 4, "--mode", "jit", *PLAIN)
    flags += ("--model.discriminator.width", 4)
    assert genjax("train", "cgan-digits", *flags, "--out", folder).status == 0
    return folder


@pytest.fixture(scope="module")
def styles(styled_run):
    return open_for_images(styled_run, "last", "projections are of")


def test_the_ramps_are_the_published_ones():
    for step in range(0, 1000, 37):
        t = step / 1000
        ramp = 0.5 - 0.5 * math.cos(min(1.0, (1.0 - t) / 0.25) * math.pi)
        np.testing.assert_allclose(step_size(t), 0.1 * ramp * min(1.0, t / 0.05), atol=1e-7)
        np.testing.assert_allclose(noise_share(t), 0.05 * max(0.0, 1 - t / 0.75) ** 2, atol=1e-7)


def test_maps_penalty_against_loops():
    maps = {"a": RNG.normal(size=(2, 16, 16)), "b": RNG.normal(size=(2, 4, 4))}
    wanted = np.zeros(2)
    for image in range(2):
        for own in (
            maps["a"][image],
            maps["a"][image].reshape(8, 2, 8, 2).mean((1, 3)),
            maps["b"][image],
        ):
            side = len(own)
            right = sum(own[i, j] * own[i, j - 1] for i in range(side) for j in range(side))
            below = sum(own[i, j] * own[i - 1, j] for i in range(side) for j in range(side))
            wanted[image] += (right / side**2) ** 2 + (below / side**2) ** 2
    np.testing.assert_allclose(maps_penalty(maps), wanted, rtol=1e-4)
    for own in normalize_maps(maps).values():
        np.testing.assert_allclose(own.mean((1, 2)), 0, atol=1e-6)
        np.testing.assert_allclose((own**2).mean((1, 2)), 1, rtol=1e-5)


def test_distance_against_numpy():
    a, b = RNG.uniform(-1, 1, (2, 3, 7, 7, 1)).astype(np.float32)
    network = from_function(lambda x: x[:, 2, 3] / 51, "pixel", traceable=True)
    wanted = np.square(b - a)[:, 2, 3, 0] / np.square(b[:, 2, 3, 0] + 1)
    for size in (1, 2, 4):
        # Cells at an edge hold what is left.
        edges = range(0, 7, size)
        cells = [
            [x[:, i : i + size, j : j + size].mean((1, 2, 3)) for i in edges for j in edges]
            for x in (a, b)
        ]
        wanted += np.square(np.subtract(*cells)).mean(axis=0)
    found = view_distance(
        view_images(network, jnp.asarray(a)), view_images(network, jnp.asarray(b))
    )
    # With an odd side, "SAME" puts the smaller cells last.
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    alone = view_distance(view_images(None, a), view_images(None, a))
    np.testing.assert_array_equal(alone, 0)


@pytest.mark.full
def test_a_sample_is_found_again(styled_run, styles):
    own = sample_run(styled_run, 3, "last", 3, sampling=GANSampling(noise="const")).samples
    network = from_function(lambda x: x.reshape(len(x), -1)[:, ::3], "third", traceable=True)
    found = project(styles, own, {}, Search(300), network)
    assert found.space == "w"
    assert found.codes.shape == (3, 4, 5)
    assert np.all(found.codes == found.codes[:, :1])
    assert np.all(found.distances < 0.01 * found.start)
    assert np.abs(np.int32(found.images) - own).mean() < 3
    # The codes alone make the image again.
    latent = latent_of(open_for_images(styled_run, "last", "", sampling=GANSampling(noise="const")))
    again = latent.decode(
        styles.state, jnp.asarray(found.codes), jax.random.key(0), jnp.arange(3), {}
    )
    np.testing.assert_allclose(again, found.images / 127.5 - 1, atol=0.005)


@pytest.mark.full
def test_w_plus_comes_as_near_as_w(styles):
    near = [project(styles, DIGITS, {}, Search(200, space=space)) for space in ("w", "w+")]
    np.testing.assert_allclose(near[0].start, near[1].start, rtol=1e-5)
    assert near[1].distances.mean() <= near[0].distances.mean()
    assert near[0].distances.mean() < near[0].start.mean()
    assert not np.all(near[1].codes == near[1].codes[:, :1])


def test_the_first_step_has_the_size_zero_and_starts_at_the_mean_of_codes(styles):
    latent, index = latent_of(styles), jnp.arange(4000)
    key = jax.random.key(7)
    codes = latent.encode(styles.state, latent.draw(key, index), key, index, {})[:, 0]
    found = project(styles, DIGITS[:1], {}, Search(1))
    np.testing.assert_allclose(found.codes[0, 0], codes.mean(0), atol=0.1 * codes.std())
    assert found.distances == found.start


@pytest.mark.full
def test_a_search_depends_on_its_seed_and_on_no_other_image(styles):
    first, again, other, alone = (
        project(styles, images, {}, Search(8, seed))
        for images, seed in ((DIGITS, 0), (DIGITS, 0), (DIGITS, 1), (DIGITS[:1], 0))
    )
    np.testing.assert_array_equal(first.codes, again.codes)
    assert np.abs(first.codes - other.codes).max() > 1e-3
    np.testing.assert_allclose(first.codes[:1], alone.codes, atol=1e-4)


@pytest.mark.full
def test_maps_of_noise_bring_it_nearer(styles):
    def louder(path, leaf):
        return jnp.ones_like(leaf) if "strength" in jax.tree_util.keystr(path) else leaf

    loud = styles._replace(state=jax.tree_util.tree_map_with_path(louder, styles.state))
    without, with_maps = (
        project(loud, DIGITS, {}, Search(100, maps=maps)) for maps in (False, True)
    )
    assert with_maps.distances.mean() < without.distances.mean()
    assert not without.maps
    assert {name: own.shape for name, own in with_maps.maps.items()} == {
        "conv4": (3, 4, 4),
        "conv8": (3, 8, 8),
        "conv8_up": (3, 8, 8),
    }
    for own in with_maps.maps.values():
        np.testing.assert_allclose(own.mean((1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(np.square(own).mean((1, 2)), 1, rtol=1e-4)


@pytest.mark.full
def test_z_of_a_class_is_found_again(plain):
    run = open_for_images(plain, "last", "projections are of")
    own = sample_run(plain, 3, "last", 2, label=4).samples
    found = project(run, own, {"label": np.full(2, 4, np.int32)}, Search(300))
    assert found.space == "z"
    assert found.codes.shape == (2, 6)
    assert np.all(found.distances < 0.05 * found.start)


def test_given_images_become_those_of_the_data(tmp_path):
    wide = RNG.integers(0, 256, (20, 30, 3), np.uint8)
    grey = RNG.integers(0, 256, (2, 8, 8, 1), np.uint8)
    folder = tmp_path / "folder"
    folder.mkdir()
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(grey[0, ..., 0]).save(folder / "b.png")
    Image.fromarray(grey[1, ..., 0]).save(folder / "a.png")
    (folder / "notes.txt").write_text("none")
    np.savez(tmp_path / "grey.npz", images=grey)
    paths = [tmp_path / "wide.png", folder, tmp_path / "grey.npz"]
    given = read_given(paths, (8, 8, 3), 5)
    assert given.names == [
        str(tmp_path / name)
        for name in ("wide.png", "folder/a.png", "folder/b.png", "grey.npz[0]", "grey.npz[1]")
    ]
    np.testing.assert_array_equal(given.images[0], resize(wide, 8))
    np.testing.assert_array_equal(given.images[1:], grey[[1, 0, 0, 1]].repeat(3, axis=-1))
    with pytest.raises(UserError, match="there are 5 images; at most 4"):
        read_given(paths, (8, 8, 3), 4)
    with pytest.raises(UserError, match="has 30 x 20 pixels, and images that aren't square"):
        read_given(paths, (8, 9, 3), 5)


def test_command(styled_run, tmp_path):
    Image.fromarray(RNG.integers(0, 256, (9, 12, 3), np.uint8)).save(tmp_path / "one.png")
    picture = tmp_path / "found.png"
    flags = ("--steps", 2, "--space", "w+", "--optimize-noise", "True")
    images = ("--image", tmp_path / "one.png", "--out", picture)
    outcome = genjax("project", styled_run, *images, *flags)
    assert outcome.status == 0, outcome
    first, line, last = outcome.out.splitlines()
    assert first.startswith("distance by features of classifier-digits ")
    assert first.endswith("and pixels (not LPIPS), in w+, step 2, seed 0:")
    assert line.startswith(f"{tmp_path / 'one.png'}: ")
    assert last == f"wrote {picture} and {picture.with_suffix('.safetensors')}"
    assert Image.open(picture).size == (176, 60)
    with safe_open(picture.with_suffix(".safetensors"), "numpy") as file:
        assert json.loads(file.metadata()["names"]) == [str(tmp_path / "one.png")]
        assert file.metadata()["space"] == "w+"
        assert file.get_tensor("codes").shape == (1, 4, 5)
        assert file.get_tensor("noise/conv8").shape == (1, 8, 8)
    assert set(contents(tmp_path)) == {"one.png", "found.png", "found.safetensors"}


@pytest.mark.full
def test_held_out_examples_have_their_classes(plain):
    assert genjax("project", plain, "--examples", 0, 2, *PIXELS).status == 0
    with safe_open(plain / "projection.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["names"]) == ["digits:test[0]", "digits:test[2]"]
        own = file.get_tensor("codes")
    assert genjax("project", plain, "--examples", 0, 2, "--label", 3, *PIXELS).status == 0
    with safe_open(plain / "projection.safetensors", "numpy") as file:
        assert np.abs(file.get_tensor("codes") - own).max() > 1e-4
    (plain / "projection.png").unlink()
    (plain / "projection.safetensors").unlink()


@pytest.mark.parametrize(
    ("kind", "flags", "said"),
    [
        ("styled_run", (), "give either --image FILE ... or --examples NUMBER ..."),
        ("styled_run", ("--examples", 0, "--image", "a.png"), "give either --image FILE"),
        ("styled_run", ("--examples", 297), "--examples is 297; it must be at most 296"),
        (
            "styled_run",
            ("--examples", 0, "--space", "z"),
            "--space is z, which codes of this model",
        ),
        ("plain", ("--examples", 0, "--space", "w+"), "are not of; choices: z"),
        ("plain", ("--examples", 0, "--optimize-noise", "True"), "this generator adds no noise"),
        ("plain", ("--image", "missing.png"), "makes images of a class; give --label; classes of"),
        ("plain", ("--image", "missing.png", "--label", 1), "cannot read missing.png"),
        ("styled_run", ("--image", "missing.png"), "cannot read missing.png: No such file"),
        ("styled_run", ("--image", "."), "holds no PNG or JPEG files"),
        ("styled_run", ("--examples", 0, "--label", 1), "is not conditional"),
        ("styled_run", ("--examples", 0, "--steps", 0), "--steps is 0; it must be at least 1"),
        ("styled_run", ("--examples", 0, "--out", "found.mp3"), "found.mp3 can't be written"),
    ],
)
def test_what_is_refused(kind, flags, said, request, tmp_path, monkeypatch):
    folder = request.getfixturevalue(kind)
    monkeypatch.chdir(tmp_path)
    before = set(contents(folder))
    assert said in refusal("project", folder, *flags)
    assert set(contents(folder)) == before
    assert not contents(tmp_path)


def test_without_a_classifier_pixels_are_offered(styled_run, monkeypatch, tmp_path):
    monkeypatch.setenv("GENJAX_CACHE", str(tmp_path))
    monkeypatch.setattr("genjax.evals.classifier.SHIPPED", tmp_path)
    said = refusal("project", styled_run, "--examples", 0)
    assert "genjax evaluate --train-features digits; or compare by --features pixels" in said
