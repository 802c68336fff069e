"""Text, token by token."""

from genjax.config import (
    GPT,
    Adam,
    AutoregressiveConfig,
    Cosine,
    DataConfig,
    EvalConfig,
    Experiment,
)

EXPERIMENTS: tuple[Experiment, ...] = (
    # nanoGPT's configuration for CPUs (README, "I only have a macbook"): 1.88 nats a character.
    Experiment(
        "gpt-shakespeare",
        DataConfig("tinyshakespeare", length=64),
        AutoregressiveConfig(
            network=GPT(width=128, depth=4, heads=4),
            optimizer=Adam(
                learning_rate=1e-3,
                b1=0.9,
                b2=0.99,
                weight_decay=0.1,
                clip=1.0,
                schedule=Cosine(length=2000, end=0.1, warmup=100),
            ),
        ),
        steps=2000,
        batch_size=12,
        eval=EvalConfig(rank="held_out", held_out=2000),
    ),
)
