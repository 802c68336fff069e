"""The FID's Inception network against pytorch-fid and torch-fidelity, layer by layer."""

import hashlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from genjax.errors import UserError
from genjax.evals.inception import (
    Inception,
    load_inception,
    make_network,
    variables_from_state_dict,
)

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def torch(torchvision):
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


@pytest.fixture(scope="module")
def state(torch, torchvision):
    """Random tensors of all that the published file has, such that activations keep their scale."""
    with torch.device("meta"):
        network = torchvision.models.inception_v3(
            num_classes=1008, aux_logits=False, init_weights=False, weights=None
        )
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, tensor in network.state_dict().items():
        shape = tuple(tensor.shape)
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.zeros((), dtype=torch.int64)
        elif name.endswith(("running_var", "bn.weight")):
            tensors[name] = torch.rand(shape, generator=generator) + 0.5
        elif len(shape) == 1:
            tensors[name] = 0.3 * torch.randn(shape, generator=generator)
        else:
            scale = (2 / np.prod(shape[1:])) ** 0.5
            tensors[name] = scale * torch.randn(shape, generator=generator)
    return tensors


@pytest.fixture(scope="module")
def weights(torch, state, tmp_path_factory):
    """A file like the published one, in its format and with its checksum in the name."""
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.rename(path.with_name(f"pt_inception-2015-12-05-{digest[:8]}.pth"))


@pytest.fixture(scope="module")
def pytorch_fid(state):
    module = pytest.importorskip(
        "pytorch_fid.inception", reason="needs the extra genjax-models[parity]"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda url, progress: state)
        yield module


@pytest.fixture(scope="module")
def theirs(pytorch_fid):
    return pytorch_fid.fid_inception_v3().eval()


@pytest.fixture(scope="module")
def features(torch, pytorch_fid, theirs):
    """A function from images and options to the features that pytorch-fid has of them."""

    def extract(images, **options):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pytorch_fid, "fid_inception_v3", lambda: theirs)
            network = pytorch_fid.InceptionV3(**options).eval()
        with torch.inference_mode():
            return network(torch.tensor(images).permute(0, 3, 1, 2))[0][..., 0, 0]

    return extract


@pytest.fixture(scope="module")
def ours(weights):
    return load_inception(weights, resize="torch")


def close(found, expected):
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_layer_by_layer(torch, theirs, state, ours):
    expected, hooks = {}, []
    blocks = [name for name, _ in theirs.named_children() if name.startswith("Mixed")]

    def record(name):
        def hook(module, inputs, output):
            # What follows may overwrite it.
            expected[name] = output.clone()

        return hook

    for name, module in theirs.named_modules():
        if name == "fc" or name in blocks or type(module).__name__ == "BasicConv2d":
            hooks.append(module.register_forward_hook(record(name)))
    images = RNG.uniform(-1, 1, (2, 107, 139, 3)).astype(np.float32)
    with torch.inference_mode():
        theirs(torch.tensor(images).permute(0, 3, 1, 2))
    for hook in hooks:
        hook.remove()
    assert len(expected) == 94 + 11 + 1

    @jax.jit
    def run(variables, images):
        return Inception().apply(
            variables, images, capture_intermediates=True, mutable="intermediates"
        )

    (features, logits), tree = run(ours.variables, images)
    found = {
        ".".join(key.key for key in path[1:-2]): value
        for path, value in jax.tree_util.tree_leaves_with_path(tree)
    }
    for name, tensor in expected.items():
        if name == "fc":
            close(found[name], tensor - state["fc.bias"])
        elif "Conv" in name or "branch" in name:
            close(nn.relu(found[name]), tensor.permute(0, 2, 3, 1))
        else:
            close(found[name], tensor.permute(0, 2, 3, 1))
    close(features, expected["Mixed_7c"].mean((2, 3)))
    close(logits, expected["fc"] - state["fc.bias"])


def draw(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(28, 28, 1), (40, 32, 3)])
def test_torch_against_pytorch_fid(features, ours, shape):
    """pytorch-fid converts grey images to RGB, to [0, 1], and resizes them."""
    images = draw(1, *shape)
    expected = features(np.broadcast_to(images, (*images.shape[:3], 3)) / np.float32(255))
    close(ours.apply(ours.variables, jnp.asarray(images)).features, expected)


def test_tf_against_torch_fidelity(torch, weights, ours):
    module = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3",
        reason="needs the extra genjax-models[parity]",
    )
    theirs = module.FeatureExtractorInceptionV3(
        "fid", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights)
    )
    images = draw(1, 40, 32, 3)
    with torch.inference_mode():
        expected = theirs(torch.tensor(images).permute(0, 3, 1, 2))
    network = make_network(ours.variables, "tf")
    found = network.apply(network.variables, jnp.asarray(images))
    close(found.features, expected[0])
    close(found.logits, expected[1])


def test_clean_against_pillow(features, ours):
    """clean-fid's network subtracts 128 and divides by 128, unlike pytorch-fid's."""
    images = draw(1, 24, 20, 1)
    resized = [
        np.asarray(Image.fromarray(np.float32(x[..., 0])).resize((299, 299), Image.BICUBIC))
        for x in images
    ]
    resized = np.broadcast_to(np.clip(resized, 0, 255)[..., None], (1, 299, 299, 3))
    expected = features((resized - 128) / 128, resize_input=False, normalize_input=False)
    network = make_network(ours.variables, "clean")
    close(network.apply(network.variables, jnp.asarray(images)).features, expected)


def test_precision(ours):
    """Accelerators would round to 10 bits or fewer, and give other scores."""
    images = jnp.zeros((1, 40, 32, 3), jnp.uint8)
    operations = str(jax.make_jaxpr(ours.apply)(ours.variables, images))
    assert operations.count("conv_general_dilated[") == 94
    assert operations.count("dot_general[") == 3
    assert operations.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == 94 + 3


def test_safetensors(state, ours, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({name: tensor.numpy() for name, tensor in state.items()}, path)
    network = load_inception(path, "torch")
    assert network[:3] == ours[:3] == ("inception", ours.hash, "torch")
    assert len(ours.hash) == 12
    jax.tree.map(np.testing.assert_array_equal, network.variables, ours.variables)


def test_other_weights_are_refused(state):
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    without = dict(arrays)
    del without["Mixed_6a.branch3x3.bn.running_var"]
    with pytest.raises(UserError, match=r"'Mixed_6a.branch3x3.bn.running_var' is missing"):
        variables_from_state_dict(without)
    # torchvision's own weights have 1000 classes.
    arrays["fc.weight"] = np.zeros((1000, 2048), np.float32)
    with pytest.raises(UserError, match=r"'fc.weight' has the shape \(1000, 2048\), not \(1008"):
        variables_from_state_dict(arrays)


def test_mistakes_are_named(weights, ours, tmp_path):
    with pytest.raises(UserError, match=r"unknown resize 'bicubic'.*clean, tf, torch"):
        load_inception(weights, "bicubic")
    with pytest.raises(UserError, match=r"no file '.*absent\.pth'; give a file"):
        load_inception(tmp_path / "absent.pth")
    other = tmp_path / "other.pth"
    other.write_bytes(b"<html>")
    with pytest.raises(UserError, match="isn't a file of weights"):
        load_inception(other)
    wrong = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
    wrong.write_bytes(b"<html>")
    with pytest.raises(UserError, match="SHA-256"):
        load_inception(wrong)
    with pytest.raises(UserError, match="1 or 3 channels, but these have 2"):
        ours.apply(ours.variables, jnp.zeros((1, 28, 28, 2), jnp.uint8))
