"""Several processes that train one run: how they meet, agree and end.

Each runs the same program on the same configuration. Process 0 alone writes files and prints; what
depends on it (a folder that is taken, a score) is told to the others.
"""

import os
import struct
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from genjax.errors import UserError

_PATIENCE_S = 30
_MESSAGE = 2048


class Address(NamedTuple):
    """Where processes meet, for machines without a cluster's software.

    Attributes:
      coordinator: ``host:port`` of process 0.
      processes: how many there are.
      number: of this one, from 0.
    """

    coordinator: str
    processes: int
    number: int


def parse_address(value: str) -> Address | None:
    """Reads ``auto``, which is None, or ``HOST:PORT,COUNT,INDEX``.

    Raises:
      UserError: it is neither.
    """
    if value == "auto":
        return None
    coordinator, *numbers = value.split(",")
    host, _, port = coordinator.rpartition(":")
    whole = host and port.isdecimal() and len(numbers) == 2 and all(n.isdecimal() for n in numbers)
    if not whole or not int(numbers[1]) < int(numbers[0]):
        raise UserError(
            f"--distributed is {value!r}; it must be auto, or HOST:PORT,COUNT,INDEX with an index "
            "from 0 to COUNT - 1"
        )
    return Address(coordinator, int(numbers[0]), int(numbers[1]))


def join(address: Address | None) -> None:
    """Meets the other processes; to be called before anything is computed.

    Args:
      address: where; None takes what `jax.distributed.initialize` finds of SLURM, Open MPI,
        Kubernetes or Cloud TPU.

    Raises:
      UserError: it finds nothing, or the others did not come.
    """
    coordinator, count, index = (None, None, None) if address is None else address
    try:
        jax.distributed.initialize(
            coordinator,
            count,
            index,
            heartbeat_timeout_seconds=_PATIENCE_S,
            shutdown_timeout_seconds=_PATIENCE_S,
        )
    except (ValueError, RuntimeError) as error:
        lines = str(error).strip().splitlines()
        hint = "" if address else "; name the processes by --distributed HOST:PORT,COUNT,INDEX"
        raise UserError(f"the processes could not meet: {lines[0]}{hint}") from None


def is_first() -> bool:
    """Whether this process writes files and prints."""
    return jax.process_index() == 0


def first_does(action: Callable[[], Any]) -> None:
    """Lets process 0 do something while the others wait.

    Raises:
      UserError: what `action` raised in process 0, in all processes.
    """
    if jax.process_count() == 1:
        action()
        return
    message = b""
    if is_first():
        try:
            action()
        except UserError as error:
            message = str(error).encode()[:_MESSAGE]
    if told := _tell(message.ljust(_MESSAGE, b"\0")).rstrip(b"\0"):
        raise UserError(told.decode(errors="replace"))


def agree(value: float) -> float:
    """The number that process 0 has, in all processes."""
    if jax.process_count() == 1:
        return value
    return struct.unpack("d", _tell(struct.pack("d", value)))[0]


def _tell(message: bytes) -> bytes:
    """What process 0 has to say, which is as long as what the others hold."""
    said = multihost_utils.broadcast_one_to_all(np.frombuffer(message, np.uint8))
    return np.asarray(said, np.uint8).tobytes()


def local(state: Any) -> Any:
    """The copy that this process has of a state that lies on the devices of all.

    What is computed of it involves no other process, which therefore need not take part.
    """
    if jax.process_count() == 1:
        return state
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), state)


def end_if_several(error: BaseException, again: str) -> None:
    """Ends one of several processes on an error that the others know nothing of.

    They would be waited for, and wait themselves, otherwise; so they lose the connection at once.

    Args:
      error: what has happened here.
      again: the command that takes up the run.
    """
    if jax.process_count() == 1:
        return
    lines = str(error).strip().splitlines() or [type(error).__name__]
    print(
        f"genjax: error: process {jax.process_index()} of {jax.process_count()} can't go on: "
        f"{lines[0]}; if it names a connection, another process has ended before; `{again}` with "
        "all processes continues from the latest checkpoint",
        file=sys.stderr,
        flush=True,
    )
    sys.stdout.flush()
    os._exit(1)


def asked_to_stop(step: int) -> bool:
    """Whether a process was sent SIGTERM, and all of them are now at the step to save.

    To be called at every step by all of them.
    """
    return bool(multihost_utils.reached_preemption_sync_point(step))
