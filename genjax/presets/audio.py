"""Raw audio."""

from genjax.config import Adam, DataConfig, EvalConfig, Experiment, GANConfig, WaveGAN

# Three times the paper's step size, since the networks are narrower.
_ADAM = Adam(learning_rate=3e-4, b1=0.5, b2=0.9)

EXPERIMENTS: tuple[Experiment, ...] = (
    # Donahue et al. 2019, for two cores: half their length, a quarter of their width, half their
    # batch, and two updates of D a step instead of five.
    Experiment(
        "wavegan-digits",
        DataConfig("spoken_digits", length=8192),
        GANConfig(
            generator=WaveGAN(width=16),
            discriminator=WaveGAN(width=16),
            generator_optimizer=_ADAM,
            discriminator_optimizer=_ADAM,
            loss="wasserstein",
            penalties={"wgan_gp": (10.0, 1)},
            discriminator_updates=2,
        ),
        steps=6000,
        batch_size=32,
        eval=EvalConfig(samples=300),
    ),
)
