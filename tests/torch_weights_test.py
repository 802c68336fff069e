"""Files of PyTorch weights against PyTorch; damaged and malicious ones are refused."""

import hashlib
import io
import os
import pickle
import urllib.error
import urllib.request
import zipfile
from collections import OrderedDict

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from genjax.errors import UserError
from genjax.evals.torch_weights import find_weights, read_state_dict

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


def numpy(tensor):
    if str(tensor.dtype) == "torch.bfloat16":
        return tensor.float().numpy().astype(jnp.bfloat16)
    return tensor.detach().numpy()


@FORMATS
def test_against_torch(torch, tmp_path, zipped):
    """All types; views of one storage, transposed, strided, expanded, empty and scalar."""
    names = [
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "bool",
    ]
    base = torch.arange(60.0).reshape(5, 12)
    state = OrderedDict(
        {name: torch.arange(-3, 4).to(getattr(torch, name)) for name in names},
        base=base,
        transposed=base.T,
        strided=base[1::2, 3::4],
        expanded=torch.ones(1).expand(3, 4),
        empty=torch.zeros(0, 3),
        scalar=torch.tensor(7),
        parameter=torch.nn.Parameter(base[2]),
    )
    state._metadata = OrderedDict({"": {"version": 1}})
    path = tmp_path / "weights.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    assert zipfile.is_zipfile(path) == zipped
    found = read_state_dict(path)
    assert list(found) == list(state)
    for name, tensor in state.items():
        expected = numpy(tensor)
        assert found[name].dtype == expected.dtype
        np.testing.assert_array_equal(found[name], expected)


@FORMATS
def test_module(torch, tmp_path, zipped):
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    path = tmp_path / "weights.pth"
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=zipped)
    found = read_state_dict(path)
    assert found.keys() == module.state_dict().keys()
    for name, tensor in module.state_dict().items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


@FORMATS
def test_truncated_files_are_refused(torch, tmp_path, zipped):
    path = tmp_path / "weights.pth"
    state = {"a": torch.arange(40.0), "b": torch.arange(6)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 7), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="isn't a file of weights, or is damaged"):
            read_state_dict(path)


@FORMATS
def test_damaged_files_are_refused_or_read(torch, tmp_path, zipped):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.arange(9.0)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 3):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read_state_dict(path)
        except UserError:
            refused += 1
    assert refused > 20


class Calls:
    """Calls a function when PyTorch unpickles it."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@FORMATS
@pytest.mark.parametrize("function", [os.system, eval, getattr])
def test_code_is_not_run(torch, tmp_path, zipped, function):
    path, trace = tmp_path / "weights.pth", tmp_path / "trace"
    arguments = {
        os.system: (f"echo > {trace}",),
        eval: (f"open({str(trace)!r}, 'w').close()",),
        getattr: (Calls(eval, f"open({str(trace)!r}, 'w').close() or ''"), "strip"),
    }
    state = {"a": torch.zeros(2), "b": Calls(function, *arguments[function])}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        UserError, match=rf"asks for \w+\.{function.__name__}, which no tensor needs"
    ):
        read_state_dict(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()


def as_legacy(path, state, keys=(), numbers=b"", little=True):
    """Writes the older format by hand."""
    with path.open("wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": little}):
            pickle.dump(part, file, protocol=2)
        file.write(state if isinstance(state, bytes) else pickle.dumps(state, protocol=2))
        pickle.dump(list(keys), file, protocol=2)
        file.write(numbers)


@pytest.mark.parametrize("size", [1 << 31, 1 << 62])
@pytest.mark.parametrize(
    ("opcode", "reason"),
    [
        (pickle.BYTEARRAY8, "remain"),
        (pickle.LONG_BINPUT, "needs such a pickle"),
        (pickle.BINBYTES8, "remain"),
        (pickle.BINUNICODE8, "remain"),
    ],
)
def test_pickles_that_ask_for_memory_are_refused(tmp_path, opcode, reason, size):
    path = tmp_path / "weights.pth"
    width = 4 if opcode == pickle.LONG_BINPUT else 8
    size = min(size, (1 << 8 * width) - 1)
    as_legacy(path, b"\x80\x02N" + opcode + size.to_bytes(width, "little") + b".")
    with pytest.raises(UserError, match=reason):
        read_state_dict(path)


class Pickler(pickle.Pickler):
    """Refers to storages, which are given as tuples, as PyTorch does."""

    def persistent_id(self, obj):
        return obj if isinstance(obj, tuple) and obj[:1] == ("storage",) else None


class Rebuilt:
    """A tensor of two numbers of a storage."""

    def __init__(self, torch, *storage):
        self.storage = "storage", *storage
        self.rebuild = torch._utils._rebuild_tensor_v2

    def __reduce__(self):
        return self.rebuild, (self.storage, 0, (2,), (1,), False, OrderedDict())


def as_state(**tensors):
    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump(tensors)
    return buffer.getvalue()


def test_storages_that_contradict_are_refused(torch, tmp_path):
    path = tmp_path / "weights.pth"
    kind = torch.FloatStorage
    first = Rebuilt(torch, kind, "0", "cpu", 2, None)
    numbers = (2).to_bytes(8, "little") + np.float32([3, 4]).tobytes()
    as_legacy(path, as_state(a=first), ["0"], numbers)
    np.testing.assert_array_equal(read_state_dict(path)["a"], [3, 4])

    as_legacy(path, as_state(a=first), ["0"], (1).to_bytes(8, "little") + numbers[8:])
    with pytest.raises(UserError, match="storage '0' has 1 numbers, not 2"):
        read_state_dict(path)
    for other in (torch.IntStorage, "0", "cpu", 2, None), (kind, "0", "cpu", 1, None):
        as_legacy(path, as_state(a=first, b=Rebuilt(torch, *other)), ["0"], numbers)
        with pytest.raises(UserError, match="storage '0' has two types or sizes"):
            read_state_dict(path)
    for other in ((kind, "0", "", -1, None), (kind, "0", "", 2, ("1", 0, 2)), (dict, "0", "", 2)):
        as_legacy(path, as_state(a=Rebuilt(torch, *other)), ["0"], numbers)
        with pytest.raises(UserError, match=r"storage of an unknown kind|no tensor needs"):
            read_state_dict(path)
    as_legacy(path, as_state(a=first))
    with pytest.raises(UserError, match="tensor 'a' doesn't fit"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (5,), (1,)),
        (3, (2,), (1,)),
        (-1, (2,), (1,)),
        (0, (2, 2), (1,)),
        (0, (2,), (-1,)),
        (0, (-2,), (1,)),
        (0, (1 << 62,), (1 << 62,)),
        (4, (), ()),
        (0, (1.5,), (1,)),
    ],
)
def test_tensors_outside_their_storage_are_refused(torch, tmp_path, offset, shape, strides):
    path = tmp_path / "weights.pth"
    storage = torch.arange(4.0).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)

    class Tensor:
        def __reduce__(self):
            rebuild = torch._utils._rebuild_tensor_v2
            return rebuild, (typed, offset, shape, strides, False, OrderedDict())

    torch.save({"fits": torch.zeros(2), "w": Tensor()}, path)
    with pytest.raises(UserError, match="tensor 'w' doesn't fit the numbers in the file"):
        read_state_dict(path)


def test_compressed_storages_are_refused(torch, tmp_path):
    buffer, path = io.BytesIO(), tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(10_000)}, buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(UserError, match="compressed"):
        read_state_dict(path)


def test_other_files_are_refused(torch, tmp_path):
    path = tmp_path / "weights.pth"
    for data in (b"", b"<html>", b"PK\3\4", pickle.dumps({"a": 1})):
        path.write_bytes(data)
        with pytest.raises(UserError, match="isn't a file of weights"):
            read_state_dict(path)
    torch.save({"model": {"a": torch.zeros(2)}}, path)
    with pytest.raises(UserError, match=r"entry 'model' isn't a tensor.*state_dict\(\)"):
        read_state_dict(path)
    torch.save(torch.zeros(2), path)
    with pytest.raises(UserError, match="no state dict"):
        read_state_dict(path)
    as_legacy(path, {}, little=False)
    with pytest.raises(UserError, match="big-endian"):
        read_state_dict(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/other", b"")
    with pytest.raises(UserError, match=r"without data\.pkl"):
        read_state_dict(path)
    with pytest.raises(UserError, match=r"cannot read.*absent"):
        read_state_dict(tmp_path / "absent")


def test_safetensors(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": np.float32([1, 2])}, path)
    np.testing.assert_array_equal(read_state_dict(path)["a"], [1, 2])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="isn't a file of weights"):
        read_state_dict(path)


def test_checksum_in_the_name(tmp_path):
    digest = hashlib.sha256(b"weights").hexdigest()
    for name in ("plain.pth", f"right-{digest[:8]}.pth", f"all-{digest}.pth", "short-1234567.pth"):
        (tmp_path / name).write_bytes(b"weights")
        assert find_weights(tmp_path / name) == find_weights(str(tmp_path / name))
    wrong = tmp_path / "wrong-6726825d.pth"
    wrong.write_bytes(b"weights")
    with pytest.raises(UserError, match=rf"'wrong-6726825d\.pth' isn't.*{digest[:8]}"):
        find_weights(wrong)
    with pytest.raises(UserError, match=r"no file '.*absent\.pth'"):
        find_weights(tmp_path / "absent.pth")


class Response(io.BytesIO):
    """What urlopen answers."""

    def __init__(self, data, length=None):
        super().__init__(data)
        self.headers = {} if length is None else {"Content-Length": str(length)}


def test_download(tmp_path, monkeypatch):
    monkeypatch.setenv("GENJAX_CACHE", str(tmp_path))
    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    answers = []

    def urlopen(url, timeout):
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)

    def files():
        return [path for path in tmp_path.rglob("*") if path.is_file()]

    url = f"https://example.org/w/weights-{digest}.pth?raw=1"
    answers[:] = [urllib.error.URLError("no route")]
    with pytest.raises(UserError, match=r"cannot download https://example.*no route"):
        find_weights(url)
    answers[:] = [Response(b"weig", 7)]
    with pytest.raises(UserError, match="broke off"):
        find_weights(url)
    answers[:] = [Response(b"others")]
    with pytest.raises(UserError, match="SHA-256"):
        find_weights(url)
    assert not files()

    answers[:] = [Response(b"weights", 7)]
    path = find_weights(url)
    assert files() == [path]
    assert path.name == f"weights-{digest}.pth"
    assert path.read_bytes() == b"weights"
    assert find_weights(url) == path  # There is no second answer.

    path.write_bytes(b"bad")
    with pytest.raises(UserError, match="SHA-256"):
        find_weights(url)
