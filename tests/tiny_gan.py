"""A GAN of one hidden layer, whose steps are easily computed again."""

import jax
import jax.numpy as jnp
import numpy as np
from specs import image_spec

from genjax.config import MLP, SGD, GANConfig
from genjax.families.gan.algorithm import make_gan

KEY = jax.random.key(4)
SIZE, IMAGE = 6, (4, 4, 1)
IMAGES = np.random.default_rng(0).uniform(-1, 1, (SIZE, *IMAGE)).astype(np.float32)
TINY = GANConfig(
    generator=MLP(width=6, depth=1, norm="none"),
    discriminator=MLP(width=6, depth=1, norm="none"),
    generator_optimizer=SGD(learning_rate=0.3),
    discriminator_optimizer=SGD(learning_rate=0.3),
    latent=8,
    ema_decay=None,
)


def run_steps(config, steps):
    """States before and after each step, and its metrics."""
    algorithm = make_gan(config, image_spec(SIZE, IMAGE))
    state, step = jax.jit(algorithm.init)(KEY), jax.jit(algorithm.step)
    path = []
    for _ in range(steps):
        new, metrics = step(state, {"image": jnp.asarray(IMAGES)})
        path.append((state, new, metrics))
        state = new
    return path


def judge(params, images):
    """D in float64: features and logits."""
    params = jax.tree.map(np.float64, params)
    dense, logit = params["encoder"]["Dense_0"], params["logit"]
    hidden = np.float64(images).reshape(len(images), -1) @ dense["kernel"] + dense["bias"]
    features = np.where(hidden > 0, hidden, 0.2 * hidden)
    return features, (features @ logit["kernel"] + logit["bias"])[:, 0]
