"""The classifier of a data set: its network, its training, and its file."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.cache import cache_directory
from genjax.config import DataConfig
from genjax.data.importer import import_dataset
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.evals.classifier import (
    RECIPES,
    Recipe,
    ResNet,
    Trained,
    accuracy,
    classifier_path,
    hash_variables,
    load_classifier,
    make_network,
    read_classifier,
    save_classifier,
)
from genjax.evals.classifier_training import augment, train_classifier, train_features
from genjax.evals.features import FeatureNetwork, extract
from genjax.evals.turns import all_turns, turn
from genjax.nn.conv import stock_conv
from genjax.run.evaluation import Protocol, evaluate_images

KEY = jax.random.key(0)
# All trainings with it are on 60 images of 8 x 8 and 10 classes, so that they share a program.
TINY = Recipe(epochs=60, batch=64, learning_rate=1e-2, width=4, shift=1)


def draw(module, images):
    """Variables of which none is at a special value; drawing them in NumPy compiles nothing."""
    shapes = jax.eval_shape(lambda: module.init(KEY, images, False))
    generator = np.random.default_rng(0)
    return jax.tree.map(lambda v: np.float32(generator.uniform(0.1, 0.5, v.shape)), shapes)


@pytest.fixture
def digits() -> np.ndarray:
    return load(DataConfig("digits", "test")).arrays["image"]


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("GENJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_cache_directory(monkeypatch):
    monkeypatch.delenv("GENJAX_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_directory() == Path.home() / ".cache" / "genjax"
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_directory() == Path("/caches/genjax")
    monkeypatch.setenv("GENJAX_CACHE", "~/own")
    assert cache_directory() == Path.home() / "own"


@pytest.mark.parametrize(
    ("image", "maps"),
    [
        ((8, 8, 1), [(8, 8), (4, 4), (2, 2)]),
        ((28, 28, 1), [(14, 14), (7, 7), (4, 4)]),
        ((32, 32, 3), [(16, 16), (8, 8), (4, 4)]),
        ((64, 48, 3), [(16, 12), (8, 6), (4, 3)]),
    ],
)
def test_network_of_any_size(image, maps):
    """Maps by the sizes of all intermediate results; features are 128 and not negative."""
    module, seen = ResNet(7, 4), []

    def run(images):
        variables = module.init(KEY, images, False)
        output, state = module.apply(variables, images, False, capture_intermediates=True)
        convolved = [v for k, v in state["intermediates"].items() if k.startswith("Conv")]
        seen.extend(leaf.shape[1:3] for leaf in jax.tree.leaves(convolved))
        return output

    output = jax.eval_shape(run, jnp.zeros((2, *image)))
    assert (output.features.shape, output.logits.shape) == ((2, 128), (2, 7))
    assert sorted(set(seen), reverse=True) == maps


def test_network_is_cheap():
    module = ResNet(10, RECIPES["mnist"].width)
    images = jnp.zeros((1, 28, 28, 1))
    variables = jax.eval_shape(lambda: module.init(KEY, images, False))
    lowered = jax.jit(lambda v, x: module.apply(v, x, False)).lower(variables, images)
    assert 10e6 < lowered.cost_analysis()["flops"] < 25e6


def test_odd_maps_are_padded_as_a_stride_would(monkeypatch):
    """The network by its own convolutions, and by stock ones without the padding, agree."""
    module = ResNet(3, 4)
    images = jax.random.normal(KEY, (2, 12, 20, 1))  # stride 2: maps of 6 x 10, 3 x 5, 2 x 3
    variables = draw(module, images)
    ours = jax.jit(lambda v: module.apply(v, images, False))(variables)
    monkeypatch.setattr("genjax.nn.resnet._even", lambda x: x)
    monkeypatch.setattr(
        "genjax.nn.conv.conv",
        lambda x, kernel, stride, form, groups: stock_conv(x, kernel, stride, groups),
    )
    stock = jax.jit(lambda v: module.apply(v, images, False))(variables)
    np.testing.assert_allclose(ours.features, stock.features, rtol=1e-4, atol=1e-5)


def test_translations():
    """A dot in the middle goes to each of the 25 places within two pixels, and nowhere else."""
    images = jnp.full((400, 9, 9, 1), -1.0).at[:, 4, 4].set(1.0)
    move = jax.jit(functools.partial(augment, recipe=Recipe(1, shift=2), key=KEY))
    moved = np.asarray(move(images))
    places = np.argwhere(moved[..., 0] == 1)
    assert (places[:, 0] == np.arange(400)).all()
    assert {tuple(place) for place in places[:, 1:]} == {
        (row, column) for row in range(2, 7) for column in range(2, 7)
    }
    np.testing.assert_array_equal(move(images.at[3:].set(0))[:3], moved[:3])


def test_flips_and_edges():
    ramp = jnp.broadcast_to(jnp.linspace(-1, 1, 6)[:, None], (200, 6, 6, 1))
    recipe = Recipe(1, shift=1, flip=True)
    moved = np.asarray(jax.jit(lambda x: augment(x, recipe, KEY))(ramp))
    rising = moved[:, 0, 5, 0] > moved[:, 0, 0, 0]
    assert 70 < rising.sum() < 130
    # Repeated edges bring no colour that wasn't there.
    assert set(np.unique(moved)) == set(np.unique(ramp))


def test_training_repeats_itself_and_follows_the_seed():
    """Also, a set smaller than the recipe's batch is one batch."""
    data = load(DataConfig("digits"))
    images, labels = data.arrays["image"][:60], data.arrays["label"][:60]
    first, again, other = (
        train_classifier(images, labels, 10, TINY, "digits", seed=seed) for seed in (3, 3, 4)
    )
    assert first.hash == again.hash == hash_variables(first.variables)
    assert len(first.hash) == 12
    assert first.hash != other.hash


def test_what_learnt_the_digits_is_kept(empty_cache, digits):
    """It names rightly most of the 297 digits of other writers."""
    trained, read = train_features("digits"), read_classifier("digits")
    assert trained.accuracy > 0.94
    labels = load(DataConfig("digits", "test")).arrays["label"]
    network = load_classifier(load(DataConfig("digits", "test")))
    assert accuracy(network, digits, labels) == trained.accuracy
    assert read.network.hash == network.hash == trained.network.hash
    assert read.network.name == "classifier-digits"
    assert read.network.resize == "none"
    assert read.digests == trained.digests
    assert read.digests.keys() == {"train", "test"}
    for field in ("data", "image", "classes", "recipe", "accuracy", "seconds", "version"):
        assert getattr(read, field) == getattr(trained, field)
    assert (read.data, read.image, read.classes) == ("digits", (8, 8, 1), 10)
    assert (read.recipe, read.held_out) == (RECIPES["digits"], "test")
    assert [path.name for path in classifier_path("digits").parent.iterdir()] == [
        "classifier-digits.safetensors"
    ]


def test_features_do_not_depend_on_the_batch(digits_classifier, digits):
    network = digits_classifier.network
    whole = extract(network, [digits], len(digits))
    parts = extract(network, iter([digits[:3], digits[3:40], digits[40:]]), 280)
    assert whole.features.shape == (297, 128)
    assert whole.logits is not None
    assert whole.features.min() == 0
    np.testing.assert_allclose(whole.features, parts.features, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(whole.logits, parts.logits, rtol=1e-5, atol=1e-5)


def test_other_shapes_are_named(digits_classifier):
    images = np.zeros((2, 16, 16, 1), np.uint8)
    with pytest.raises(UserError, match="'digits' knows examples of 8x8x1, but these are 16x16x1"):
        extract(load_classifier(load(DataConfig("digits", "test"))), [images], 2)


def test_untrained_classifiers_are_named(empty_cache):
    with pytest.raises(UserError, match="no classifier of 'cifar10' yet; run: genjax evaluate"):
        load_classifier(dataclasses.replace(load(DataConfig("digits")), name="cifar10"))


@pytest.fixture(scope="module")
def untrained() -> FeatureNetwork:
    """A network that knows nothing yet, of three classes."""
    variables = draw(ResNet(3, 4), jnp.zeros((1, 8, 8, 1)))
    return make_network(variables, "own/set", "image", (8, 8, 1), 3, 4)


@pytest.fixture
def kept(empty_cache: Path, untrained: FeatureNetwork) -> Trained:
    """A classifier in a cache of its own."""
    kept = Trained(untrained, "own/set", "image", (8, 8, 1), 3, TINY, 0.5, "test", 1.5, "0.1.0", {})
    save_classifier(kept)
    return kept


def test_classifiers_of_before_are_trained_again(kept):
    """They do not say which data they learnt from."""
    digits = load(DataConfig("digits"))
    with pytest.raises(UserError, match="own/set:train is not known to it"):
        load_classifier(dataclasses.replace(digits, name="own/set"))


def test_names_with_a_configuration(kept, empty_cache):
    assert (empty_cache / "features" / "classifier-own-set.safetensors").exists()
    assert read_classifier("own/set").network.name == "classifier-own/set"


@pytest.mark.parametrize("size", [0, 7, 300, -1])
def test_damaged_files_are_named(kept, size):
    path = classifier_path("own/set")
    path.write_bytes(path.read_bytes()[:size])
    message = "'own/set' is damaged .* train it again: genjax evaluate --train-features own/set"
    with pytest.raises(UserError, match=message):
        read_classifier("own/set")


def test_other_weights_than_the_network_has_are_refused(kept):
    save_classifier(kept._replace(recipe=dataclasses.replace(TINY, width=8)))
    with pytest.raises(UserError, match="another version"):
        read_classifier("own/set")


def test_hash_sees_names_shapes_and_values():
    trees = [
        {"a": np.zeros(4, np.float32)},
        {"b": np.zeros(4, np.float32)},
        {"a": np.zeros((2, 2), np.float32)},
        {"a": np.ones(4, np.float32)},
    ]
    assert len({hash_variables(tree) for tree in trees}) == 4


def test_sets_without_a_test_split_give_up_a_tenth(empty_cache, tmp_path, monkeypatch):
    data = load(DataConfig("digits"))
    assert "label" in data.arrays
    (tmp_path / "raw").mkdir()
    images, labels = (data.arrays[name][:66] for name in ("image", "label"))
    np.savez(tmp_path / "raw" / "mine.npz", x_train=images, y_train=labels)
    import_dataset("mine", tmp_path / "raw", tmp_path / "data")
    monkeypatch.setitem(RECIPES, "mine", TINY)
    steps = []

    def progress(items, description, total):
        if description == "training on mine":
            steps.append(total)
        return items

    trained = train_features("mine", str(tmp_path / "data"), progress)
    assert steps == [60]  # one a pass, because 60 images are left
    assert trained.held_out == "a tenth of train"
    assert trained.accuracy in {n / 6 for n in range(7)}
    assert read_classifier("mine").accuracy == trained.accuracy
    source = load(DataConfig("mine", directory=str(tmp_path / "data")))
    assert load_classifier(source).hash == trained.network.hash

    # Others of the same name, even where the labels alone differ, have no classifier yet.
    np.savez(tmp_path / "raw" / "mine.npz", x_train=images, y_train=np.roll(labels, 1))
    import_dataset("mine", tmp_path / "raw", tmp_path / "other")
    other = load(DataConfig("mine", directory=str(tmp_path / "other")))
    again = "train it again: genjax evaluate --train-features mine"
    with pytest.raises(UserError, match=f"learnt from other data: mine:train had .* {again}"):
        load_classifier(other)
    with pytest.raises(UserError, match="mine:validation is not known to it"):
        load_classifier(dataclasses.replace(source, split="validation"))
    resized = DataConfig("mine", resolution=16, directory=str(tmp_path / "data"))
    said = "knows examples of 8x8x1, but these are 16x16x1; run: .* mine --resolution 16, or choose"
    with pytest.raises(UserError, match=said):
        load_classifier(load(resized))


def test_resized_images_have_a_classifier_of_their_own(empty_cache, monkeypatch):
    monkeypatch.setitem(RECIPES, "digits", dataclasses.replace(TINY, epochs=1, batch=500))
    trained = train_features("digits", resolution=16)
    assert (trained.image, trained.network.name) == ((16, 16, 1), "classifier-digits@16")
    resized, plain = (load(DataConfig("digits", resolution=side)) for side in (16, None))
    assert load_classifier(resized).hash == trained.network.hash
    assert load_classifier(plain).hash != trained.network.hash
    classifier_path("digits@16").write_bytes(b"")
    again = "train it again: genjax evaluate --train-features digits --resolution 16"
    with pytest.raises(UserError, match=again):
        load_classifier(resized)


def test_turns_are_those_of_numpy():
    images = np.random.default_rng(0).normal(size=(3, 5, 5, 2)).astype(np.float32)
    for by, turned in enumerate(all_turns(jnp.asarray(images))):
        np.testing.assert_array_equal(turned, np.rot90(images, by, (1, 2)))
    long = images[:, :3]
    ways = [np.asarray(turned) for turned in all_turns(jnp.asarray(long))]
    for turned, axes in zip(ways, ((), (2,), (1,), (1, 2)), strict=True):
        np.testing.assert_array_equal(turned, np.flip(long, axes))
    some = turn(jnp.asarray(long), jnp.array([3, 0, 2]))
    np.testing.assert_array_equal(some, np.stack([ways[3][0], ways[0][1], ways[2][2]]))


@pytest.mark.full
def test_data_without_labels_are_scored_through_what_tells_their_turns(
    empty_cache, tmp_path, monkeypatch, capsys
):
    """And without any network by what needs none."""
    images = load(DataConfig("digits")).arrays["image"]
    np.savez(tmp_path / "plain.npz", images=images[:600])
    np.savez(tmp_path / "fake.npz", images=images[600:650])
    import_dataset("plain", tmp_path / "plain.npz", tmp_path / "data")
    sets = ("plain", str(tmp_path / "fake.npz"), Protocol(load_classifier))
    where = str(tmp_path / "data")
    without = evaluate_images(*sets, directory=where)
    assert [record["metric"] for record in without.records] == ["ms_ssim"]
    assert "run: genjax evaluate --train-features plain" in without.left_out["fid"]

    monkeypatch.setitem(RECIPES, "plain", dataclasses.replace(TINY, epochs=12, width=8))
    trained = train_features("plain", where)
    assert (trained.task, trained.network.name, trained.classes) == ("turns", "turns-plain", 4)
    assert trained.accuracy > 0.4  # guessing: 0.25
    found = evaluate_images(*sets, directory=where)
    names = {record["metric"] for record in found.records}
    assert names == {"fid", "kid", "precision", "recall", "density", "coverage", "ms_ssim"}
    assert found.records[0]["features"]["hash"] == trained.network.hash
    with pytest.raises(UserError, match="is needs a feature network with classes"):
        evaluate_images("plain", sets[1], sets[2]._replace(metrics=("is",)), directory=where)


def test_points_have_no_classifier():
    with pytest.raises(UserError, match="'gaussians-8' holds points"):
        train_features("gaussians-8")
