"""The adversarial step: k discriminator updates, one generator update, one moving average."""

from jaxtyping import Array

from genjax.config import GANConfig, GANSampling
from genjax.core.algorithm import Algorithm, plain_latent, sample_by
from genjax.core.frozen import NO_NETWORKS, Networks
from genjax.core.players import sampling_variables
from genjax.core.rng import latents
from genjax.core.schema import Spec
from genjax.core.types import Batch, Condition, Embedding, Examples, Index, Key, Metrics
from genjax.families.gan.discriminator import update_discriminator
from genjax.families.gan.game import GANState, compose, first_state
from genjax.families.gan.generator import update_generator
from genjax.families.gan.signs import adversarial_signs
from genjax.families.gan.styles import (
    check_sampling,
    first_kernels,
    fixed_noise,
    has_styles,
    paint,
    paint_with_noise,
    sample_styles,
    style_kernels,
)


def make_gan(
    config: GANConfig,
    spec: Spec,
    axis_name: str | None = None,
    accumulate: int = 1,
    sampling: GANSampling | None = None,
    networks: Networks = NO_NETWORKS,
) -> Algorithm:
    """Composes a GAN from its axes.

    In a step, D makes `discriminator_updates` updates, each on real images and noise of its own
    (with `lazy_updates`, those of penalties follow the one whose images they look at), then G makes
    one on fresh noise against the new D. D's batch norm sees real and generated images apart; the
    generated image at each place has the label, or the caption, of the real one there. Losses see
    the logits of the whole batch, over all devices; gradients are averaged over them.
    `share_generated` and `joint_pass` save work where the configuration asks for it.

    Args:
      config: the axes.
      spec: of the data.
      axis_name: mapped axis over the devices (pmap); None where the program sees the whole batch.
      accumulate: parts of each update's batch whose gradients are averaged. What looks at the whole
        batch, such as batch norm or a relativistic average, then sees a part.
      sampling: how samples are drawn; None for the defaults.
      networks: of other runs: ``text_encoder``, which reads captions.

    Returns:
      The algorithm. Its step takes the target, in [-1, 1], and, if it is conditional on them,
      ``batch["label"]`` and ``batch["caption"]``.

    Raises:
      UserError: an unknown name, axes that do not fit each other, or data that a network can't
        make.
    """
    game = compose(config, spec, axis_name, accumulate, networks)
    conditioning = game.conditioning

    def step(state: GANState, batch: Batch) -> tuple[GANState, Metrics]:
        state, d_metrics, drawn = update_discriminator(game, state, batch)
        state, g_metrics = update_generator(game, state, batch, drawn)
        return state, {**d_metrics, **g_metrics}

    options = sampling or GANSampling()
    network = game.g_network
    check_sampling(network, options)

    def condition_of(state: GANState, key: Key, index: Index, given: Condition) -> Embedding | None:
        known = conditioning.read(given, getattr(state, "frozen", {}), key, index)
        return conditioning.draw(key, index, known)

    def encode(state: GANState, z: Array, key: Key, index: Index, given: Condition) -> Array:
        condition = condition_of(state, key, index, given)
        variables = sampling_variables(state.generator)
        return sample_styles(network, variables, z, condition, options)

    def decode(state: GANState, code: Array, key: Key, index: Index, given: Condition) -> Examples:
        variables = sampling_variables(state.generator)
        if has_styles(network):
            return paint(network, variables, code, options, key, index)
        condition = condition_of(state, key, index, given)
        images: Examples = network.apply(variables, code, False, condition)
        return images

    latent = plain_latent(
        lambda key, index: latents(key, index, config.latent, options.bound), decode
    )

    def kernels(state: GANState) -> list[Array]:
        params = sampling_variables(state.generator)["params"]
        if has_styles(network):
            return style_kernels(network, params)
        return first_kernels(params, config.latent)

    latent = latent._replace(kernels=kernels)
    if has_styles(network):
        latent = latent._replace(
            encode=encode,
            styled=True,
            noise=lambda state: fixed_noise(sampling_variables(state.generator)),
            fit=lambda state, code, maps: paint_with_noise(
                network, sampling_variables(state.generator), code, maps
            ),
        )

    return Algorithm(
        spec=conditioning.given(spec),
        examples=spec.size * config.discriminator_updates,
        init=lambda key: first_state(game, key),
        step=step,
        sample=sample_by(latent),
        updates={
            "discriminator": lambda state, batch: update_discriminator(game, state, batch)[:2],
            "generator": lambda state, batch: update_generator(game, state, batch, None),
        },
        signs=adversarial_signs,
        latent=latent,
    )
