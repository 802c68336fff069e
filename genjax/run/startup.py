"""What a process sets up before it compiles: a cache of programs, memory that it keeps, silence.

``JAX_ENABLE_COMPILATION_CACHE=0`` turns the cache off, ``JAX_COMPILATION_CACHE_DIR`` puts it
elsewhere, and ``GENJAX_KEEP_MEMORY=0`` leaves the allocator alone.
"""

import ctypes
import hashlib
import importlib.util
import io
import logging
import os
import platform
import sys
import warnings
from pathlib import Path
from typing import Any

from genjax.cache import cache_directory
from genjax.errors import UserError

ABSENT_TPU = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
"""Variables with which libtpu asks nobody, and several processes may load it."""

_CACHE_BYTES = 4 * 2**30
# Of glibc's malloc.h.
_TRIM_THRESHOLD = -1
_MMAP_MAX = -4
DISPATCH = "JAX_CPU_ENABLE_ASYNC_DISPATCH"


def prepare_process() -> None:
    """Sets up all of it; to be called before anything is compiled or printed."""
    print_anything()
    use_compilation_cache()
    keep_memory()
    hush_writers()
    pass_over_absent_tpus()


def print_anything() -> None:
    """Lets what a terminal or a pipe has no character for be printed as an escape, not be an error.

    Names of files and classes may have any character, and tables and bars have lines and dots that
    an encoding such as ASCII lacks.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def keep_memory() -> None:
    """Lets glibc keep what is freed instead of returning it to the kernel.

    XLA allocates the temporary memory of a CPU program anew in each call. Given back in between,
    every page of it is mapped and cleared again, which makes a step of dcgan-fashion a third slower
    (docs/performance.md). Does nothing with another C library. Programs on one CPU then run in the
    thread that calls them: what another thread allocates glibc returns in any case if it is more
    than 64 MiB, whence a step of dcgan-cifar10 would be a sixth slower.
    """
    if sys.platform != "linux" or os.environ.get("GENJAX_KEEP_MEMORY") == "0":
        return
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return
    library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    library.mallopt(_MMAP_MAX, 0)
    if DISPATCH not in os.environ:
        os.environ[DISPATCH] = "0"
        # Otherwise it is read when that module is imported.
        if "genjax.core.compiler" in sys.modules:
            sys.modules["genjax.core.compiler"].read_dispatch()


def hush_writers() -> None:
    """Leaves what is said of a checkpoint that can't be written to the one error that is raised.

    Orbax logs whole files before it raises, and its writers in other threads, which go on for a
    while, complain once for each array, in hundreds of lines and even after the error.
    """
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "coroutine '.*' was never awaited", RuntimeWarning)
    sys.unraisablehook = _unraisable


def _unraisable(unraisable: Any) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def pass_over_absent_tpus() -> None:
    """Lets the compiler of TPUs be installed where there is none, without a word of it.

    JAX starts it to look for TPUs; it asks a cloud who its neighbours are, and complains.
    """
    if importlib.util.find_spec("libtpu") is None or _has_tpu():
        return
    for name, value in ABSENT_TPU.items():
        os.environ.setdefault(name, value)


def _has_tpu() -> bool:
    """Whether there is a device of Google's on the bus."""
    vendors = Path("/sys/bus/pci/devices").glob("*/vendor")
    return any(path.read_text().strip() == "0x1ae0" for path in vendors)


def use_compilation_cache() -> None:
    """Keeps compiled programs on disk for the next process.

    Variables of JAX that are already set win. Programs are kept apart by the processor's abilities,
    since a home directory may be shared by machines that differ, and XLA's key does not name them.
    Without a home, or where nothing can be written there, nothing is kept.
    """
    directory = os.environ.get("JAX_COMPILATION_CACHE_DIR") or _writable_cache()
    if directory is None:
        return
    defaults = {
        "jax_compilation_cache_dir": str(directory),
        "jax_compilation_cache_max_size": _CACHE_BYTES,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in defaults.items():
        if name.upper() not in os.environ:
            os.environ[name.upper()] = str(value)
            # JAX reads its variables when it is imported.
            if "jax" in sys.modules:
                sys.modules["jax"].config.update(name, value)


def _writable_cache() -> Path | None:
    """Where compiled programs are kept; None where they can't be."""
    try:
        directory = cache_directory() / "xla" / name_processor()
        directory.mkdir(parents=True, exist_ok=True)
    except (UserError, OSError):
        return None
    return directory if os.access(directory, os.W_OK) else None


def name_processor() -> str:
    """Names the processor's instruction set."""
    described = platform.machine() + platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        described += next((x for x in lines if x.startswith(("flags", "Features"))), "")
    except OSError:
        pass
    return hashlib.sha256(described.encode()).hexdigest()[:12]
