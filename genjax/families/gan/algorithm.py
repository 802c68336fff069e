"""The adversarial step: k discriminator updates, one generator update, one moving average."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import GANConfig
from genjax.core.algorithm import Algorithm, ema_update, global_norm, pmean
from genjax.core.optimizers import make_optimizer
from genjax.core.players import (
    apply_training,
    make_player,
    move_average,
    ramped_decay,
    sampling_variables,
    update_player,
)
from genjax.core.rng import example_index, latents, stream
from genjax.core.types import (
    Batch,
    BatchSpec,
    Condition,
    Images,
    Index,
    Key,
    Labels,
    Metrics,
    NetState,
    Params,
    PerExample,
    Variables,
)
from genjax.errors import lookup
from genjax.families.gan.augment import make_augmentation
from genjax.families.gan.composition import check_axes, make_networks
from genjax.families.gan.conditioning import make_conditioning
from genjax.families.gan.losses import LOSSES, preference
from genjax.families.gan.networks import Judgement
from genjax.families.gan.penalties import Scene, penalty_terms
from genjax.families.gan.techniques import clip_weights, move_history, top_k_weights, weight_terms
from genjax.nn.layers import gather_batch

_LOGIT_DECAY = 0.99


class _Drawn(NamedTuple):
    """Generated images, from which a gradient can be pulled back.

    Attributes:
      images: in [-1, 1].
      pull: from the gradient by the images to that by G's parameters, in a tuple.
      condition: of the images.
      variables: G's other collections afterwards.
    """

    images: Images
    pull: Callable[[Images], tuple[Params]]
    condition: Condition | None
    variables: Variables


@flax.struct.dataclass
class GANState:
    """Everything that adversarial training changes.

    Attributes:
      step: int32 scalar, generator updates made.
      key: the base key of the run; it never changes.
      generator: G's parameters, statistics, optimizer and moving average.
      discriminator: D's.
      aux: running values that some techniques need: ``average_real`` and ``average_fake``, averages
        of D's logits (lecam); ``penalty``, the latest value of each lazy penalty by name;
        ``history``, the mean over time of each player's parameters (historical averaging).
    """

    step: Int[Array, ""]
    key: Key
    generator: NetState
    discriminator: NetState
    aux: Mapping[str, Any]


def make_gan(config: GANConfig, spec: BatchSpec, axis_name: str | None = None) -> Algorithm:
    """Composes a GAN from its axes.

    In a step, D makes `discriminator_updates` updates, each on real images and noise of its own,
    then G makes one on fresh noise against the new D. D's batch norm sees real and generated images
    apart; the generated image at each place has the label of the real one there. Losses see the
    logits of the whole batch, over all devices; gradients are averaged over them. `share_generated`
    and `joint_pass` save work where the configuration asks for it.

    Args:
      config: the axes.
      spec: shape of the data.
      axis_name: mapped axis over the devices (pmap); None where the program sees the whole batch.

    Returns:
      The algorithm. Its step takes ``batch["image"]`` in [-1, 1] and, if it is conditional on
      them, ``batch["label"]``.

    Raises:
      UserError: an unknown name, axes that do not fit each other, or an image size a network can't
        make.
    """
    loss = lookup(LOSSES, config.loss, "adversarial loss")
    check_axes(config)
    conditioning = make_conditioning(config, spec.classes)
    augment = make_augmentation(config.augmentations)
    g_network, d_network = make_networks(config, spec, axis_name)
    g_optimizer = make_optimizer(config.generator_optimizer)
    d_optimizer = make_optimizer(config.discriminator_optimizer)
    updates = config.discriminator_updates

    def init(key: Key) -> GANState:
        # More than one example only for virtual batch norm, whose reference batch this is.
        size = spec.size if config.generator.norm == "virtual" else 1
        index = jnp.arange(size)
        labels = index % conditioning.classes if conditioning.labelled else None
        reference = stream(key, "reference")
        condition = conditioning.draw(reference, index, labels)
        z = latents(reference, index, config.latent)
        g = g_network.init(stream(key, "init generator"), z, False, condition)
        image = jnp.zeros((1, *spec.image))
        seen = None if condition is None else condition[:1]
        d = d_network.init(stream(key, "init discriminator"), image, False, seen)
        aux: dict[str, Any] = {
            "average_real": jnp.zeros(()),
            "average_fake": jnp.zeros(()),
            "penalty": {name: jnp.zeros(()) for name in config.penalties},
        }
        if config.historical_averaging:
            aux["history"] = {
                "generator": jax.tree.map(jnp.copy, g["params"]),
                "discriminator": jax.tree.map(jnp.copy, d["params"]),
            }
        return GANState(
            step=jnp.zeros((), jnp.int32),
            key=key,
            generator=make_player(g, g_optimizer, average=config.ema_decay is not None),
            discriminator=make_player(d, d_optimizer, average=False),
            aux=aux,
        )

    def generate(
        player: NetState, params: Params, key: Key, index: Index, labels: Labels | None
    ) -> tuple[Images, Condition | None, Variables]:
        condition = conditioning.draw(key, index, labels)
        z = latents(stream(key, "latent"), index, config.latent)
        images, variables = apply_training(g_network, params, player.variables, z, condition)
        return images, condition, variables

    def draw(player: NetState, key: Key, index: Index, labels: Labels | None) -> _Drawn:
        """Generates images, keeping what the gradient of G's parameters needs."""

        def images_of(params: Params) -> tuple[Images, tuple[Condition | None, Variables]]:
            images, condition, variables = generate(player, params, key, index, labels)
            return images, (condition, variables)

        images, pull, (condition, variables) = jax.vjp(images_of, player.params, has_aux=True)
        return _Drawn(images, pull, condition, variables)

    def judge(
        params: Params, variables: Variables, images: Images, condition: Condition | None, key: Key
    ) -> tuple[Judgement, Variables]:
        judgement, changed = apply_training(
            d_network, params, variables, images, condition, rngs={"dropout": key}
        )
        return judgement._replace(logits=gather_batch(judgement.logits, axis_name)), changed

    def judge_both(
        params: Params,
        variables: Variables,
        images: tuple[Images, Images],
        condition: Condition | None,
        key: Key,
    ) -> tuple[Judgement, Judgement, Variables]:
        if not config.joint_pass:
            real, variables = judge(params, variables, images[0], condition, stream(key, "real"))
            fake, variables = judge(params, variables, images[1], condition, stream(key, "fake"))
            return real, fake, variables
        # Side by side rather than one after the other, so that devices keep their examples.
        pairs = jnp.stack(images, 1).reshape(-1, *images[0].shape[1:])
        twice = None if condition is None else jnp.repeat(condition, 2, axis=0)
        both, variables = judge(params, variables, pairs, twice, key)
        real, fake = (jax.tree.map(lambda x, i=i: x[i::2], both) for i in (0, 1))
        return real, fake, variables

    def recognition_loss(judgement: Judgement, condition: Condition | None) -> Float[Array, ""]:
        if conditioning.recognition is None or condition is None:
            return jnp.zeros(())
        task = conditioning.recognition
        return jnp.mean(task.loss(config, judgement.auxiliary, condition))

    def discriminator_loss(
        params: Params,
        player: NetState,
        aux: Mapping[str, Any],
        images: tuple[Images, Images],
        condition: Condition | None,
        number: Int[Array, ""],
        key: Key,
    ) -> tuple[Any, tuple[Metrics, Variables, Mapping[str, Any]]]:
        real, fake, variables = judge_both(params, player.variables, images, condition, key)
        adversarial = jnp.mean(loss.discriminator(real.logits, fake.logits, config.label_smoothing))
        metrics = {
            "discriminator/loss": adversarial,
            "discriminator/real_logit": jnp.mean(real.logits),
            "discriminator/fake_logit": jnp.mean(fake.logits),
            "discriminator/accuracy": preference(real.logits, fake.logits),
        }
        total = adversarial
        if conditioning.recognition is not None:
            recognised = recognition_loss(fake, condition)
            if conditioning.recognition.on_real:
                recognised += recognition_loss(real, condition)
            total += config.auxiliary_weight * recognised
            metrics["discriminator/recognition"] = recognised

        decay = jnp.minimum(_LOGIT_DECAY, number / (number + 1.0))
        aux = {
            **aux,
            **jax.lax.stop_gradient(
                {
                    name: ema_update(aux[name], jnp.mean(judged.logits), decay)
                    for name, judged in (("average_real", real), ("average_fake", fake))
                }
            ),
        }
        index = example_index(images[0].shape[0], axis_name)
        draws = stream(key, "penalty")

        def critic(x: Images) -> PerExample:
            judged, _ = apply_training(
                d_network, params, variables, x, condition, rngs={"dropout": draws}
            )
            return judged.logits

        scene = Scene(
            critic,
            *images,
            real.logits[index],
            fake.logits[index],
            aux["average_real"],
            aux["average_fake"],
            draws,
            index,
            axis_name,
        )
        penalty, latest = penalty_terms(config.penalties, scene, number, aux["penalty"])
        total += penalty
        aux["penalty"] = latest
        metrics |= {f"discriminator/{name}": value for name, value in latest.items()}
        total += weight_terms(
            params,
            config.discriminator.orthogonal,
            config.historical_averaging,
            aux.get("history", {}).get("discriminator"),
        )
        return total, (metrics, variables, aux)

    def generator_loss(
        images: Images,
        condition: Condition | None,
        state: GANState,
        real_images: Images,
        key: Key,
    ) -> tuple[Any, Metrics]:
        d = state.discriminator
        index = example_index(real_images.shape[0], axis_name)
        images = augment(images, stream(key, "augment fake"), index)
        fake, _ = judge(d.params, d.variables, images, condition, stream(key, "fake"))
        real = None
        if loss.paired or config.feature_matching:
            real_images = augment(real_images, stream(key, "augment real"), index)
            real, _ = judge(d.params, d.variables, real_images, condition, stream(key, "real"))
        if config.feature_matching:
            assert real is not None
            means = pmean([jnp.mean(j.features, axis=0) for j in (real, fake)], axis_name)
            value = jnp.sum(jnp.square(means[0] - means[1]))
        else:
            per_example = loss.generator(None if real is None else real.logits, fake.logits)
            value = jnp.sum(
                per_example
                * top_k_weights(fake.logits, config.top_k, config.top_k_decay, state.step)
            )
        metrics = {"generator/loss": value}
        total = value
        if conditioning.recognition is not None:
            recognised = recognition_loss(fake, condition)
            total += config.auxiliary_weight * recognised
            metrics["generator/recognition"] = recognised
        return total, metrics

    def split(batch: Batch) -> tuple[Images, Labels | None]:
        # Examples of one update are strided, so that splitting the batch over devices by its
        # first axis never moves an image from one device to another.
        real = batch["image"].reshape(-1, updates, *batch["image"].shape[1:])
        return real, batch["label"].reshape(-1, updates) if conditioning.labelled else None

    def update_discriminator(
        state: GANState, batch: Batch
    ) -> tuple[GANState, Metrics, _Drawn | None]:
        real, labels = split(batch)
        index = example_index(real.shape[0], axis_name)
        d, aux, drawn = state.discriminator, state.aux, None

        for update in range(updates):
            key = stream(state.key, "discriminator update", state.step, update)
            chosen = None if labels is None else labels[:, update]
            g = state.generator
            if config.share_generated and update == updates - 1:
                drawn = draw(g, key, index, chosen)
                fake, condition = drawn.images, drawn.condition
            else:
                fake, condition, _ = generate(g, g.params, key, index, chosen)
            images = (
                augment(real[:, update], stream(key, "augment real"), index),
                augment(fake, stream(key, "augment fake"), index),
            )
            (_, (metrics, variables, aux)), grads = jax.value_and_grad(
                discriminator_loss, has_aux=True
            )(d.params, d, aux, images, condition, state.step * updates + update, key)
            d_grads = pmean(grads, axis_name)
            aux = {**aux, "penalty": pmean(aux["penalty"], axis_name)}
            d = update_player(d, d_grads, variables, d_optimizer)
            if config.weight_clip is not None:
                d = dataclasses.replace(d, params=clip_weights(d.params, config.weight_clip))
        metrics = {
            **pmean(metrics, axis_name),
            "discriminator/gradient_norm": global_norm(d_grads),
        }
        return dataclasses.replace(state, discriminator=d, aux=aux), metrics, drawn

    def update_generator(
        state: GANState, batch: Batch, drawn: _Drawn | None
    ) -> tuple[GANState, Metrics]:
        real, labels = split(batch)
        aux = state.aux
        key = stream(state.key, "generator update", state.step)
        if drawn is None:
            index = example_index(real.shape[0], axis_name)
            drawn = draw(state.generator, key, index, None if labels is None else labels[:, -1])
        (_, metrics), d_images = jax.value_and_grad(generator_loss, has_aux=True)(
            drawn.images, drawn.condition, state, real[:, -1], key
        )
        terms = jax.grad(weight_terms)(
            state.generator.params,
            config.generator.orthogonal,
            config.historical_averaging,
            aux.get("history", {}).get("generator"),
        )
        grads = jax.tree.map(jnp.add, drawn.pull(d_images)[0], terms)
        g_grads = pmean(grads, axis_name)
        g = update_player(state.generator, g_grads, drawn.variables, g_optimizer)
        if config.ema_decay is not None:
            decay = ramped_decay(config.ema_decay, config.ema_ramp, state.step + 1)
            g = move_average(g, decay)
        if config.historical_averaging:
            current = {"generator": g.params, "discriminator": state.discriminator.params}
            aux = {**aux, "history": move_history(aux["history"], current, state.step)}

        metrics = {
            **pmean(metrics, axis_name),
            "generator/gradient_norm": global_norm(g_grads),
        }
        state = dataclasses.replace(state, step=state.step + 1, generator=g, aux=aux)
        return state, metrics

    def step(state: GANState, batch: Batch) -> tuple[GANState, Metrics]:
        state, d_metrics, drawn = update_discriminator(state, batch)
        state, g_metrics = update_generator(state, batch, drawn)
        return state, {**d_metrics, **g_metrics}

    def sample(state: GANState, key: Key, index: Index, label: Labels | None) -> Images:
        if label is None and conditioning.classes:
            label = index % conditioning.classes
        condition = conditioning.draw(key, index, label)
        z = latents(key, index, config.latent)
        images: Images = g_network.apply(sampling_variables(state.generator), z, False, condition)
        return images

    return Algorithm(
        init,
        step,
        sample,
        evaluate=None,
        examples=spec.size * updates,
        classes=conditioning.classes,
        parts={
            "discriminator": lambda state, batch: update_discriminator(state, batch)[:2],
            "generator": lambda state, batch: update_generator(state, batch, None),
        },
    )
