"""Kills runs by SIGKILL at random moments and resumes them; a script for kill_test.py.

One process imports everything and forks for each run, which saves the seconds that an import takes.
It never computes anything itself, so that there is nothing a fork could break.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

# What commands import late is imported once, here.
import jax
import sklearn.datasets  # noqa: F401

import genjax.data.sources
import genjax.run.loop  # noqa: F401
from genjax import cli

SIZES = ("--model.generator.name", "mlp", "--model.discriminator.name", "mlp")
SIZES += ("--model.generator.width", "16", "--model.discriminator.width", "16")
SIZES += ("--model.discriminator.norm", "none", "--batch-size", "32", "--model.ema-decay", "0.9")
OFTEN = ("--log-every", "4", "--sample-every", "12", "--checkpoint-every", "8")
OFTEN += ("--eval.every", "20", "--eval.samples", "256")
FLAGS = (*SIZES, *OFTEN, "--steps", "48", "--mode", "jit")
KILLS_PER_RUN = 5


def start(log: Path, cached: bool, *arguments: str) -> int:
    """Forks a process that runs a command and returns its number; `cached`: it need not compile."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        sys.argv = ["genjax", *arguments]
        jax.config.update("jax_enable_compilation_cache", cached)
        cli.main()
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0)
    finally:
        os._exit(status)


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def phase(run: Path) -> str:
    """What a killed run was about to do, as far as its files tell."""
    if not (run / "config.json").exists():
        return "start"
    checkpoints = run / "checkpoints"
    if any("tmp" in path.name for path in checkpoints.glob("*")):
        return "checkpoint"
    if not any(checkpoints.glob("[0-9]*")):
        return "before the first checkpoint"
    return "between"


def main(folder: Path, kills: int) -> None:
    """Prints a JSON line for each run: when it was killed, and with what status it ended."""
    draw = random.Random(0)
    seconds = {}
    for cached, name in ((True, "fill"), (True, "cached"), (False, "whole")):
        log = folder / f"{name}.log"
        began = time.monotonic()
        status = wait(start(log, cached, "train", *FLAGS, "--out", str(folder / name)))
        assert status == 0, log.read_text()
        seconds[cached] = time.monotonic() - began
    number = 0
    while kills:
        run, killed = folder / str(number), []
        log = folder / f"{number}.log"
        # Some must compile, so that a kill may come while they do.
        cached = number % 4 != 0
        number += 1
        while True:
            begun = (run / "config.json").exists()
            command = ("resume", str(run)) if begun else ("train", *FLAGS, "--out", str(run))
            child = start(log, cached, *command)
            if kills and len(killed) < KILLS_PER_RUN:
                time.sleep(draw.random() * seconds[cached])
                os.kill(child, signal.SIGKILL)
            status = wait(child)
            if status != -signal.SIGKILL:
                break
            kills -= 1
            killed.append(phase(run))
        print(json.dumps({"run": str(run), "killed": killed, "status": status}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
