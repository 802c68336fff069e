"""What penalties of D see in tests: six real and six generated images, and a critic."""

import jax
import jax.numpy as jnp
import numpy as np

from genjax.families.gan.penalties import Origin, Scene

KEY = jax.random.key(3)
BATCH, IMAGE = 6, (4, 4, 1)
AVERAGE_REAL, AVERAGE_FAKE = 0.3, -0.7
RNG = np.random.default_rng(0)
# The third is as the fourth, and the last is none.
CONDITION = np.array([[1, 2], [0, -1], [3, 1], [3, 1], [-2, 5], [0, 0]], np.float32)
REAL, FAKE = (RNG.uniform(-1, 1, (BATCH, *IMAGE)).astype(np.float32) for _ in range(2))


def make_scene(critic, real=REAL, fake=FAKE, key=KEY):
    real, fake = jnp.asarray(real), jnp.asarray(fake)
    return Scene(
        critic,
        real,
        fake,
        Origin(real, critic),
        Origin(fake, critic),
        critic(real),
        critic(fake),
        jnp.float32(AVERAGE_REAL),
        jnp.float32(AVERAGE_FAKE),
        key,
        jnp.arange(real.shape[0]),
        None,
        jnp.asarray(CONDITION),
        lambda x, condition: critic(x) * condition.sum(1),
        jax.nn.softplus,
    )
