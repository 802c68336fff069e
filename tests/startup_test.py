"""What a process sets up: its compilation cache, its memory, and the options of XLA."""

import importlib.util
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from patience import PATIENCE_S

from genjax.core import compiler
from genjax.errors import UserError
from genjax.run import startup

SETTINGS = (
    "JAX_COMPILATION_CACHE_DIR",
    "XLA_FLAGS",
    "JAX_ENABLE_COMPILATION_CACHE",
    "JAX_CPU_ENABLE_ASYNC_DISPATCH",
)


def clean(tmp_path, **settings):
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return {**kept, "GENJAX_CACHE": str(tmp_path / "cache"), **settings}


def programs(tmp_path):
    return {path.name for path in tmp_path.glob("cache/xla/*/*-cache")}


def sample(tmp_path, **settings):
    """Runs a command that compiles little, in a process of its own."""
    code = (
        "from genjax.run.startup import prepare_process; prepare_process(); "
        "from genjax.core.compiler import jit, xla_options; import jax; "
        "jit(lambda x: x + 1)(jax.numpy.zeros(3)); print(xla_options(jax.devices()[0]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean(tmp_path, **settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_programs_are_kept_for_the_next_process(tmp_path):
    printed = sample(tmp_path)
    assert printed == str(compiler.OPTIONS["cpu"])
    first = programs(tmp_path)
    assert first
    sample(tmp_path)
    assert programs(tmp_path) == first


def test_the_cache_can_be_turned_off_and_moved(tmp_path):
    sample(tmp_path, JAX_ENABLE_COMPILATION_CACHE="0")
    assert not programs(tmp_path)
    assert (
        sample(
            tmp_path, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"), GENJAX_XLA_OPTIONS="default"
        )
        == "{}"
    )
    assert not programs(tmp_path)
    assert list((tmp_path / "own").glob("*-cache"))


def test_a_script_that_has_imported_jax_can_have_the_cache(tmp_path):
    code = (
        "import jax; from genjax.run.startup import prepare_process; prepare_process(); "
        "jax.jit(lambda x: x + 1)(jax.numpy.zeros(3))"
    )
    subprocess.run(
        [sys.executable, "-c", code], env=clean(tmp_path), check=True, timeout=PATIENCE_S
    )
    assert programs(tmp_path)


def test_what_is_set_already_stays(monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "7")
    startup.use_compilation_cache()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "mine"
    assert os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "7"


@pytest.mark.parametrize(("value", "calls"), [("0", 0), ("1", 2), (None, 2)])
def test_memory_is_kept_unless_told_otherwise(monkeypatch, value, calls):
    changed = []

    class Library:
        def gnu_get_libc_version(self):
            raise AssertionError

        def mallopt(self, option, value):
            changed.append(option)

    monkeypatch.setattr(startup.sys, "platform", "linux")
    monkeypatch.setattr(startup.ctypes, "CDLL", lambda name: Library())
    monkeypatch.delenv("GENJAX_KEEP_MEMORY", raising=False)
    if value is not None:
        monkeypatch.setenv("GENJAX_KEEP_MEMORY", value)
    monkeypatch.setenv("JAX_CPU_ENABLE_ASYNC_DISPATCH", "1")
    startup.keep_memory()
    assert len(changed) == calls
    assert os.environ["JAX_CPU_ENABLE_ASYNC_DISPATCH"] == "1"


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told to keep memory")
@pytest.mark.parametrize(
    ("first", "kept"),
    [
        ("", False),
        pytest.param("", True, marks=pytest.mark.full),
        ("import genjax.core.compiler", True),
    ],
)
def test_large_temporary_memory_stays_mapped(tmp_path, first, kept):
    code = f"""
{first}
from genjax.run.startup import prepare_process
prepare_process()
import jax, resource
from genjax.core.compiler import jit
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
# 144 MB between two products.
run, x = jit(lambda x: (x @ x.T) @ x), jax.numpy.ones((6000, 8))
counts = []
for _ in range(10):
    before = faults()
    jax.block_until_ready(run(x))
    counts.append(faults() - before)
# The heap grows in some of the first calls.
print(min(counts))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean(tmp_path, GENJAX_KEEP_MEMORY=str(int(kept))),
        check=True,
        timeout=PATIENCE_S,
        capture_output=True,
        text=True,
    )
    # 144 MB are 69 pages of 2 MiB, the largest that there are.
    assert (int(done.stdout) < 35) == kept


@pytest.fixture
def options(monkeypatch):
    compiler.xla_options.cache_clear()
    yield monkeypatch
    compiler.xla_options.cache_clear()


def test_options_that_this_xla_lacks_are_left_out(options):
    options.setitem(compiler.OPTIONS, "cpu", {"xla_cpu_no_such_option": "1"})
    assert compiler.xla_options(jax.devices()[0]) == {}
    assert float(compiler.jit(lambda x: 2 * x)(jnp.float32(3))) == 6


def test_wrong_values_are_reported(options):
    options.setitem(compiler.OPTIONS, "cpu", {"xla_cpu_prefer_vector_width": "wide"})
    with pytest.raises(jax.errors.JaxRuntimeError, match="wide"):
        compiler.xla_options(jax.devices()[0])


def test_an_unknown_choice_is_refused(options):
    options.setenv("GENJAX_XLA_OPTIONS", "none")
    with pytest.raises(UserError, match="GENJAX_XLA_OPTIONS is 'none'; choices: default, tuned"):
        compiler.xla_options(jax.devices()[0])


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_the_loop_does_not_wait_for_pytorch():
    """A library of event files imports it where it is installed, which takes over a second."""
    code = "import sys, genjax.run.loop; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.stdout == "False\n", done.stderr
