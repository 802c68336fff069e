"""Raw audio."""

from genjax.config import Adam, DataConfig, EvalConfig, Experiment, GANConfig, WaveGAN

_ADAM = Adam(learning_rate=2e-4, b1=0.5, b2=0.9)

EXPERIMENTS: tuple[Experiment, ...] = (
    # Donahue et al. 2019, at half their length, a quarter of their width and half their batch; with
    # twice their step size, since narrow layers bear larger ones, and a moving average. With three
    # times the step size and two updates of D instead of five, D lost within 1,300 steps.
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
            discriminator_updates=5,
            ema_decay=0.999,
            ema_ramp=0.05,
        ),
        steps=5000,
        batch_size=32,
        eval=EvalConfig(samples=300),
    ),
)
