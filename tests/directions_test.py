"""Directions in latents: SeFa, GANSpace, and samples that go along them."""

import dataclasses

import jax
import numpy as np
import pytest
from in_process import contents, genjax, refusal
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import PCA

from genjax.run.directions import (
    Direction,
    find_directions,
    load_directions,
    principal_components,
    save_directions,
    sefa,
    traverse,
)
from genjax.run.latents import open_for_images
from genjax.run.sampling import sample_run

RNG = np.random.default_rng(0)


def same_lines(a, b):
    """Up to their signs."""
    np.testing.assert_allclose(np.abs(np.sum(a * b, axis=1)), 1, atol=1e-4)


def test_sefa_has_the_left_singular_vectors_of_kernels_with_columns_of_length_one():
    kernels = [RNG.normal(size=(4, 7)), 5 * RNG.normal(size=(4, 3))]
    whole = np.concatenate(kernels, 1)
    left, _, _ = np.linalg.svd(whole / np.linalg.norm(whole, axis=0))
    same_lines(sefa(kernels), left.T)


def test_principal_components():
    codes = RNG.normal(size=(200, 4)) * [1, 3, 2, 0.5] + 7
    same_lines(principal_components(codes), PCA(4).fit(codes).components_)


@pytest.mark.parametrize("method", [pytest.param("ganspace", marks=pytest.mark.full), "sefa"])
def test_one_sample_goes_along_directions_of_w(styled_run, method):
    run = open_for_images(styled_run, "last", "directions are drawn of")
    found = find_directions(run, method, 3, (1, 2), ["size"])
    assert [d.name for d in found] == ["size", f"{method}-1", f"{method}-2"]
    assert all(d.layers == (1, 2) and d.spread > 0 for d in found)
    np.testing.assert_allclose([np.linalg.norm(d.vector) for d in found], 1, rtol=1e-4)
    if method == "ganspace":
        assert found[0].spread >= found[1].spread >= found[2].spread
    made = traverse(run, found, [-20.0, 0.0, 20.0], 3, 5)
    assert made.shape == (3, 3, 8, 8, 1)
    own = sample_run(styled_run, 3, "last", 6).samples[5]
    assert np.abs(np.int32(made[:, 1]) - own).max() <= 1
    assert np.abs(np.int32(made[:, 0]) - made[:, 2]).max() > 1
    # The other layers keep their style.
    everywhere = traverse(run, [found[0]._replace(layers=(0, 3))], [20.0], 3, 5)
    assert np.abs(np.int32(everywhere[0, 0]) - made[0, 2]).max() > 1


def test_directions_of_z_are_those_of_the_first_layer(plain_run):
    run = open_for_images(plain_run, "last", "directions are drawn of")
    found = find_directions(run, "sefa", 6, None, ())
    kernel = run.state.generator.params["decoder"]["Dense_0"]["kernel"]
    # The rows behind those of z are of labels.
    assert kernel.shape[0] == 16
    same_lines(np.stack([d.vector for d in found]), sefa([np.asarray(kernel[:6])]))
    np.testing.assert_allclose([d.spread for d in found], 1, atol=0.05)
    # With large weights, by which classes differ although it has learnt nothing.
    g = run.state.generator
    large = dataclasses.replace(g, params=jax.tree.map(lambda p: 30 * p, g.params))
    run = run._replace(state=dataclasses.replace(run.state, generator=large))
    for number in (5, 15):
        made = traverse(run, found[:2], [0.0, 1.0], 0, number)
        assert made.shape == (2, 2, 8, 8, 1)
        np.testing.assert_array_equal(made, traverse(run, found[:2], [0.0, 1.0], 0, number, 5))
        assert (made != traverse(run, found[:2], [0.0, 1.0], 0, number, 0)).any()


def test_directions_are_kept_by_name(tmp_path):
    known = [
        Direction(name, RNG.normal(size=4).astype(np.float32), spread, layers)
        for name, spread, layers in (("b", 0.5, (0, 3)), ("a", 2.0, (1, 1)))
    ]
    save_directions(tmp_path / "d.safetensors", known)
    for names, wanted in (((), known[::-1]), (("b",), known[:1])):
        found = load_directions(tmp_path / "d.safetensors", names)
        assert [(d.name, d.spread, d.layers) for d in found] == [
            (d.name, d.spread, d.layers) for d in wanted
        ]
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a.vector, b.vector)


def test_command(styled_run, tmp_path):
    picture = tmp_path / "found.png"
    flags = ("--count", 2, "--columns", 3, "--names", "size", "--psi", 0.8)
    outcome = genjax("directions", styled_run, *flags, "--out", picture)
    assert outcome.status == 0, outcome
    assert outcome.out.startswith("rows, from the top: size, sefa-1\nwrote ")
    file = picture.with_suffix(".safetensors")
    assert set(load_file(file)) == {"size", "sefa-1"}
    again = ("--load", file, "--names", "size", "--sample", 4, "--out", tmp_path / "again.png")
    assert genjax("directions", styled_run, *again).status == 0
    assert set(contents(tmp_path)) == {"found.png", "found.safetensors", "again.png"}


@pytest.mark.parametrize(
    ("kind", "flags", "said"),
    [
        (
            "plain_run",
            ("--method", "ganspace"),
            "--method is ganspace, the principal components of w",
        ),
        ("plain_run", ("--method", "pca"), "unknown method 'pca'; choices: ganspace, sefa"),
        ("plain_run", ("--layers", 0, 1), "--layers is for a generator of styles"),
        ("plain_run", ("--count", 9), "--count is 9; there are 6 directions"),
        ("plain_run", ("--count", 1, "--names", "a", "b"), "--names has 2 names for 1 directions"),
        ("plain_run", ("--count", 2, "--names", "a", "a"), "--names is 'a' 'a'; each of the 2"),
        ("plain_run", ("--count", 2, "--names", "sefa-1"), "--names is 'sefa-1'; each of the 2"),
        (
            "plain_run",
            ("--count", 2, "--names", ""),
            "--names is ''; each of the 2 directions needs",
        ),
        ("styled_run", ("--layers", 2, 4), "--layers is 2 4; this generator has the layers 0 to 3"),
        ("styled_run", ("--span", 0), "--span is 0; it must be above 0"),
    ],
)
def test_what_is_refused(kind, flags, said, request):
    folder = request.getfixturevalue(kind)
    before = set(contents(folder))
    assert said in refusal("directions", folder, *flags)
    assert set(contents(folder)) == before


def test_files_of_other_things_are_refused(styled_run, tmp_path):
    file = tmp_path / "d.safetensors"
    assert "holds no directions" in refusal("directions", styled_run, "--load", file)
    save_file({"a": np.zeros((2, 2), np.float32)}, file)
    assert "holds no directions: 'a' is [2, 2]" in refusal("directions", styled_run, "--load", file)
    save_file({"a": np.ones(9, np.float32)}, file)
    said = refusal("directions", styled_run, "--load", file)
    assert "direction 'a' has 6 dimensions, but latents of this model have 5" in said
    assert "unknown direction" in refusal("directions", styled_run, "--load", file, "--names", "b")
