"""A small GPT on the characters of Tiny Shakespeare: nats a character on held-out text.

Command:   python experiments/gpt_shakespeare.py
Needs:     the data set tinyshakespeare (`genjax data import`, from karpathy/char-rnn's input.txt),
           two CPU cores, 2 minutes a seed
Writes:    runs/experiments/gpt_shakespeare-SEED, the folders of three runs, and
           experiments/results/gpt_shakespeare.md; a second call only measures them

The preset `gpt-shakespeare` has the configuration that nanoGPT's README has for CPUs: four layers
of 128 units, four heads, windows of 64 characters, batches of 12, 2,000 steps. Here the first
character of a window is predicted as well, from nothing; nanoGPT predicts 64 characters from 1 to
64 before them. So the second column, the mean over the characters that have 1 to 63 before them,
is what compares with nanoGPT, at a small disadvantage.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from genjax.config import AutoregressiveConfig
from genjax.core.players import sampling_variables
from genjax.data.sources import load, load_held_out
from genjax.families.autoregressive import DECODERS, token_nats
from genjax.presets import preset
from genjax.run.loop import train
from genjax.run.opening import Run, open_run
from genjax.run.startup import prepare_process

RUNS = Path("runs/experiments")
RESULT = Path("experiments/results/gpt_shakespeare.md")
SEEDS = (0, 1, 2)
BATCH = 250


def nats_by_place(run: Run) -> np.ndarray:
    """Mean nats of each place of a window, over all windows of the held-out text; float64 [64]."""
    model = run.experiment.model
    assert isinstance(model, AutoregressiveConfig)
    field = run.schema.fields["tokens"]
    network = DECODERS[type(model.network)](
        model.network, field.levels, field.shape[0], np.float32, None
    )
    variables = sampling_variables(run.state.network)
    measure = jax.jit(lambda tokens: token_nats(network.apply(variables, tokens, False), tokens))
    held_out = load_held_out(run.experiment.data)
    assert held_out is not None
    total = np.zeros(field.shape)
    for start in range(0, held_out.count, BATCH):
        numbers = np.arange(start, min(start + BATCH, held_out.count))
        total += np.asarray(measure(held_out.read(numbers)["tokens"]), np.float64).sum(axis=0)
    return total / held_out.count


def main() -> None:
    """Trains what is missing, measures, and writes the table."""
    prepare_process()
    console = Console(markup=False)
    rows = []
    for seed in SEEDS:
        experiment = dataclasses.replace(preset("gpt-shakespeare"), seed=seed)
        directory = RUNS / f"gpt_shakespeare-{seed}"
        if not (directory / "network.safetensors").exists():
            data = experiment.data
            resume = (directory / "config.json").exists()
            train(experiment, directory, load(data), console, resume, held_out=load_held_out(data))
        nats = nats_by_place(open_run(directory, "last"))
        rows.append((nats.mean(), nats[1:].mean(), nats[-8:].mean()))
    lines = [
        "| seed | all 64 characters | those after the first | the last 8 |",
        "| --- | --- | --- | --- |",
        *(
            f"| {seed} | {' | '.join(f'{v:.3f}' for v in row)} |"
            for seed, row in zip(SEEDS, rows, strict=True)
        ),
        f"| mean | {' | '.join(f'{v:.3f}' for v in np.mean(rows, axis=0))} |",
    ]
    text = "Nats a character of held-out text, after 2,000 steps:\n\n" + "\n".join(lines) + "\n"
    RESULT.write_text(text, encoding="utf-8")
    console.print(text, markup=False)


if __name__ == "__main__":
    main()
