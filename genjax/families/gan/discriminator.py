"""D's side of the game: its loss, and its updates in a step."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.core.algorithm import ema_update, global_norm, pmean
from genjax.core.compiler import target_platform
from genjax.core.from_loss import mean_over_parts
from genjax.core.optimizers import scheduled
from genjax.core.players import apply_training, update_player
from genjax.core.rng import example_index, stream
from genjax.core.types import (
    Batch,
    Embedding,
    Examples,
    Index,
    Key,
    Metrics,
    NetState,
    Number,
    Params,
    PerExample,
    Variables,
)
from genjax.families.gan.game import (
    Drawn,
    Game,
    GANState,
    draw,
    generate,
    judge,
    lazy_terms,
    part_key,
    recognition_loss,
    split_updates,
)
from genjax.families.gan.losses import preference
from genjax.families.gan.networks import Judgement
from genjax.families.gan.penalties import Origin, Scene, mean_penalty, penalty_terms
from genjax.families.gan.techniques import augment_strength, clip_weights, weight_terms

_LOGIT_DECAY = 0.99

Scalar: TypeAlias = Float[Array, ""]


class Shown(NamedTuple):
    """Examples that D is shown.

    Attributes:
      origin: before D's augmentation.
      augment: from those to what D sees of them.
      images: what it sees.
    """

    origin: Examples
    augment: Callable[[Examples], Examples]
    images: Examples


class Seen(NamedTuple):
    """What D sees in an update.

    Attributes:
      real: real examples.
      fake: generated ones.
      condition: of both.
      place: int32 [batch], of the examples in the whole batch.
      number: int32 scalar, updates of D before this one.
      p: strength of D's augmentation.
      key: of the penalties' draws.
      dropout: of what D draws.
    """

    real: Shown
    fake: Shown
    condition: Embedding | None
    place: Index
    number: Int[Array, ""]
    p: Number
    key: Key
    dropout: Key


def _judge_both(
    game: Game, params: Params, variables: Variables, seen: Seen
) -> tuple[Judgement, Judgement, Variables]:
    condition, key = seen.condition, seen.dropout
    images = seen.real.images, seen.fake.images
    if not game.config.joint_pass:
        real, variables = judge(game, params, variables, images[0], condition, stream(key, "real"))
        fake, variables = judge(game, params, variables, images[1], condition, stream(key, "fake"))
        return real, fake, variables
    # Side by side rather than one after the other, so that devices keep their examples.
    pairs = jnp.stack(images, 1).reshape(-1, *images[0].shape[1:])
    twice = None if condition is None else jnp.repeat(condition, 2, axis=0)
    both, variables = judge(game, params, variables, pairs, twice, key)
    real, fake = (jax.tree.map(lambda x, i=i: x[i::2], both) for i in (0, 1))
    return real, fake, variables


def discriminator_loss(
    params: Params, game: Game, player: NetState, aux: Mapping[str, Any], seen: Seen
) -> tuple[Any, tuple[Metrics, Variables, Mapping[str, Any]]]:
    """D's loss: the adversarial term, its further task, penalties and terms of its weights.

    Args:
      params: D's parameters.
      game: the GAN.
      player: D; its collections are used.
      aux: of the state.
      seen: what D sees.

    Returns:
      The loss, and its metrics, D's other collections and what moves of `aux` afterwards.
    """
    config = game.config
    real, fake, variables = _judge_both(game, params, player.variables, seen)
    adversarial = jnp.mean(
        game.loss.discriminator(real.logits, fake.logits, config.label_smoothing)
    )
    metrics = {
        "discriminator/loss": adversarial,
        "discriminator/real_logit": jnp.mean(real.logits),
        "discriminator/fake_logit": jnp.mean(fake.logits),
        "discriminator/accuracy": preference(real.logits, fake.logits),
    }
    moved: dict[str, Any] = {}
    if config.ada:
        sign = jax.lax.stop_gradient(jnp.mean(jnp.sign(real.logits)))
        metrics["discriminator/real_sign"] = sign
        metrics["discriminator/augment_p"] = jnp.float32(seen.p)
        if config.ada_target is not None:
            moved["augment_sign"] = aux["augment_sign"] + sign
    total = adversarial
    if game.conditioning.recognition is not None:
        recognised = recognition_loss(game, fake, seen.condition)
        if game.conditioning.recognition.on_real:
            recognised += recognition_loss(game, real, seen.condition)
        total += config.auxiliary_weight * recognised
        metrics["discriminator/recognition"] = recognised

    decay = jnp.minimum(_LOGIT_DECAY, seen.number / (seen.number + 1.0))
    averages = jax.lax.stop_gradient(
        {
            name: ema_update(aux[name], jnp.mean(judged.logits), decay)
            for name, judged in (("average_real", real), ("average_fake", fake))
        }
    )
    scene = _scene(game, params, variables, seen, (real, fake), averages)
    lazy = lazy_terms(config, config.penalties)
    weights = {name: value for name, value in config.penalties.items() if name not in lazy}
    penalty, latest = penalty_terms(weights, scene, seen.number, aux["penalty"])
    total += scheduled(penalty, config.penalty_schedule, seen.number, game.spec.size)
    metrics |= {f"discriminator/{name}": value for name, value in latest.items()}
    total += weight_terms(
        params,
        config.discriminator_orthogonal,
        config.historical_averaging,
        aux.get("history", {}).get("discriminator"),
    )
    latest = {**aux["penalty"], **latest}
    return total, (metrics, variables, {**averages, **moved, "penalty": latest})


def _scene(
    game: Game,
    params: Params,
    variables: Variables,
    seen: Seen,
    judged: tuple[Judgement, Judgement],
    averages: Mapping[str, Any],
) -> Scene:
    draws = stream(seen.dropout, "penalty")

    def given(x: Examples, condition: Embedding | None) -> PerExample:
        judged, _ = apply_training(
            game.d_network, params, variables, x, condition, rngs={"dropout": draws}
        )
        return judged.logits

    def critic(x: Examples) -> PerExample:
        return given(x, seen.condition)

    own = example_index(seen.real.images.shape[0], game.axis_name)
    return Scene(
        critic,
        seen.real.images,
        seen.fake.images,
        Origin(seen.real.origin, lambda x: critic(seen.real.augment(x))),
        Origin(seen.fake.origin, lambda x: critic(seen.fake.augment(x))),
        judged[0].logits[own],
        judged[1].logits[own],
        averages["average_real"],
        averages["average_fake"],
        stream(seen.key, "penalty"),
        seen.place,
        game.axis_name,
        seen.condition,
        given,
        game.loss.generated,
    )


def _look(
    game: Game,
    key: Key,
    number: Int[Array, ""],
    p: Number,
    part: int,
    images: tuple[Examples, Examples],
    condition: Embedding | None,
    place: Index,
) -> Seen:
    """What D sees of real and generated examples, augmented with strength p."""

    def show(origin: Examples, name: str) -> Shown:
        augment = game.augment(stream(key, f"augment {name}"), place, p)
        return Shown(origin, augment, augment(origin))

    real, fake = images
    return Seen(
        show(real, "real"),
        show(fake, "fake"),
        condition,
        place,
        number,
        p,
        key,
        part_key(key, part),
    )


def _gradient(
    game: Game,
    state: GANState,
    key: Key,
    number: Int[Array, ""],
    shared: bool,
    examples: Any,
    part: int,
) -> tuple[Params, tuple[Metrics, Variables, Mapping[str, Any]], Drawn | None]:
    """Of one update of D by some examples of its batch; keeps the generated ones if `shared`."""
    d, g = state.discriminator, state.generator
    images, known, place = examples
    drawn = None
    if shared:
        drawn = draw(game, g, key, place, known)
        fake, condition = drawn.images, drawn.condition
    else:
        fake, condition, _ = generate(game, g, g.params, key, place, known)

    p = augment_strength(game.config, state.aux, state.step, game.spec.size)
    seen = _look(game, key, number, p, part, (images, fake), condition, place)
    (_, found), grads = jax.value_and_grad(discriminator_loss, has_aux=True)(
        d.params, game, d, state.aux, seen
    )
    return grads, found, drawn


def _move(game: Game, player: NetState, grads: Params, variables: Variables) -> NetState:
    """Applies one update to D."""
    d = update_player(player, grads, variables, game.d_optimizer)
    if game.config.weight_clip is None:
        return d
    return dataclasses.replace(d, params=clip_weights(d.params, game.config.weight_clip))


def _update_lazily(
    game: Game, state: GANState, name: str, key: Key, number: Int[Array, ""], examples: Any
) -> tuple[NetState, Scalar]:
    """Makes D's update by one penalty if it is due: D, and the penalty where it was last computed.

    It is on noise and augmentations of its own; its gradient is the whole one, the interval's
    number of times.
    """
    config, before = game.config, state.discriminator
    p = augment_strength(config, state.aux, state.step, game.spec.size)
    weight, interval = config.penalties[name]

    def gradient(some: Any, part: int) -> tuple[Params, Scalar]:
        images, known, place = some
        g = state.generator
        fake, condition, _ = generate(game, g, g.params, key, place, known)
        seen = _look(game, key, number, p, part, (images, fake), condition, place)

        def loss(params: Params) -> tuple[Number, Scalar]:
            real, fake, variables = _judge_both(game, params, before.variables, seen)
            scene = _scene(game, params, variables, seen, (real, fake), state.aux)
            value = mean_penalty(name, scene)
            whole = weight * interval * value
            return scheduled(whole, config.penalty_schedule, number, game.spec.size), value

        return jax.grad(loss, has_aux=True)(before.params)

    def update() -> tuple[NetState, Scalar]:
        found = mean_over_parts(gradient, examples, game.accumulate)
        grads, value = pmean(found, game.axis_name)
        return _move(game, before, grads, before.variables), value

    return jax.lax.cond(
        number % interval == 0, update, lambda: (before, state.aux["penalty"][name])
    )


def update_discriminator(
    game: Game, state: GANState, batch: Batch
) -> tuple[GANState, Metrics, Drawn | None]:
    """Makes all of D's updates in a step, each on real examples and noise of its own.

    Args:
      game: the GAN.
      state: before.
      batch: of the whole step.

    Returns:
      The state with the new D; the metrics of the last update; and with `share_generated` the
      generated examples of that update.
    """
    config = game.config
    real, known = split_updates(game, state, batch)
    place = example_index(real.shape[0], game.axis_name)

    def make(
        before: tuple[NetState, Mapping[str, Any]], given: Any, shared: bool
    ) -> tuple[tuple[NetState, Mapping[str, Any]], Metrics, Drawn | None]:
        """One update of D and of what moves with it, by its number and its examples."""
        update, images, chosen = given
        now = dataclasses.replace(state, discriminator=before[0], aux=before[1])
        key = stream(state.key, "discriminator update", state.step, update)
        number = state.step * config.discriminator_updates + update
        grads, (metrics, variables, moved), drawn = mean_over_parts(
            partial(_gradient, game, now, key, number, shared),
            (images, chosen, place),
            game.accumulate,
        )
        grads = pmean(grads, game.axis_name)
        aux = {**now.aux, **moved, "penalty": pmean(moved["penalty"], game.axis_name)}
        d = _move(game, now.discriminator, grads, variables)
        norm = {"discriminator/gradient_norm": global_norm(grads)}
        metrics = {**pmean(metrics, game.axis_name), **norm}
        for name in lazy_terms(config, config.penalties):
            now = dataclasses.replace(state, discriminator=d, aux=aux)
            own = stream(key, f"lazy {name}")
            d, value = _update_lazily(game, now, name, own, number, (images, chosen, place))
            aux = {**aux, "penalty": {**aux["penalty"], name: value}}
            metrics[f"discriminator/{name}"] = value
        return (d, aux), metrics, drawn

    after = state.discriminator, state.aux
    metrics: Metrics = {}
    drawn: Drawn | None = None
    looped = config.discriminator_updates - config.share_generated
    # On CPUs copies are some percent faster, though they take twice as long to compile.
    if target_platform() == "cpu" or looped < 2:
        looped = 0
    if looped:
        some = jax.tree.map(lambda x: x[:, :looped].swapaxes(0, 1), (real, known))
        step = lambda carry, given: make(carry, given, False)[:2]  # noqa: E731
        after, each = jax.lax.scan(step, after, (jnp.arange(looped), *some))
        metrics = jax.tree.map(lambda x: x[-1], each)
    for update in range(looped, config.discriminator_updates):
        own = update, real[:, update], None if known is None else known[:, update]
        shared = config.share_generated and update == config.discriminator_updates - 1
        after, metrics, drawn = make(after, own, shared)
    return dataclasses.replace(state, discriminator=after[0], aux=after[1]), metrics, drawn
