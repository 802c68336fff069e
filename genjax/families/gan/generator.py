"""G's side of the game: its loss, and its update in a step."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from genjax.core.algorithm import global_norm, pmean
from genjax.core.from_loss import mean_over_parts
from genjax.core.players import move_average, move_profiles, ramped_decay, update_player
from genjax.core.rng import example_index, latents, stream
from genjax.core.types import (
    Batch,
    Embedding,
    Examples,
    Index,
    Key,
    Metrics,
    NetState,
    Params,
    Variables,
)
from genjax.errors import UserError
from genjax.families.gan.conditioning import Known
from genjax.families.gan.game import (
    Drawn,
    Game,
    GANState,
    draw,
    judge,
    lazy_terms,
    part_key,
    recognition_loss,
    split_updates,
    synthesize,
)
from genjax.families.gan.styles import (
    GENERATOR_PENALTIES,
    Painter,
    Scalar,
    draw_styles,
    generator_terms,
    share_of_batch,
)
from genjax.families.gan.techniques import (
    adapt_augment,
    augment_strength,
    move_history,
    top_k_weights,
    weight_terms,
)


def generator_loss(
    images: Examples,
    game: Game,
    state: GANState,
    condition: Embedding | None,
    real_images: Examples,
    place: Index,
    key: Key,
    part: int,
) -> tuple[Any, Metrics]:
    """G's loss by what D says of its examples.

    Args:
      images: generated.
      game: the GAN.
      state: its D judges.
      condition: of the images.
      real_images: for losses that compare.
      place: int32 [batch], of the examples in the whole batch.
      key: of the update.
      part: of the batch, from 0.

    Returns:
      The loss, and its metrics.
    """
    config, d = game.config, state.discriminator
    dropout = part_key(key, part)
    p = augment_strength(config, state.aux, state.step, game.spec.size)
    images = game.augment(stream(key, "augment fake"), place, p)(images)
    fake, _ = judge(game, d.params, d.variables, images, condition, stream(dropout, "fake"))
    real = None
    if game.loss.paired or config.feature_matching:
        real_images = game.augment(stream(key, "augment real"), place, p)(real_images)
        real, _ = judge(
            game, d.params, d.variables, real_images, condition, stream(dropout, "real")
        )
    if config.feature_matching:
        assert real is not None
        means = pmean([jnp.mean(j.features, axis=0) for j in (real, fake)], game.axis_name)
        value = jnp.sum(jnp.square(means[0] - means[1]))
    else:
        per_example = game.loss.generator(None if real is None else real.logits, fake.logits)
        value = jnp.sum(
            per_example * top_k_weights(fake.logits, config.top_k, config.top_k_decay, state.step)
        )
    metrics = {"generator/loss": value}
    total = value
    if game.conditioning.recognition is not None:
        recognised = recognition_loss(game, fake, condition)
        total += config.auxiliary_weight * recognised
        metrics["generator/recognition"] = recognised
    return total, metrics


def batch_of_generator(
    game: Game, real: Examples, known: Array | None
) -> tuple[Examples, Known | None]:
    """The real examples, and what is known of them, beside which G's own are made.

    They are those of D's last update. Of a smaller batch they are every n-th of them; for a larger
    one, those of updates before stand behind each.

    Args:
      game: the GAN.
      real: of D's updates, [batch, updates, ...].
      known: their labels, [batch, updates], or vectors, or None.

    Returns:
      The examples, [batch of G, ...]; and what is known of them, [batch of G, ...], or None.

    Raises:
      UserError: a device has too few examples.
    """
    size, given = game.config.generator_batch or game.spec.size, game.spec.size
    every, updates = max(1, given // size), jnp.arange(max(1, size // given)) % real.shape[1]
    if real.shape[0] % every:
        raise UserError(
            f"generator_batch is {size} of {given}, which devices with {real.shape[0]} examples "
            "can't share; use fewer devices"
        )

    def of_updates(x: Array) -> Array:
        if size <= given:
            return x[::every, -1]
        return x[:, -1 - updates].reshape(-1, *x.shape[2:])

    return of_updates(real), None if known is None else of_updates(known)


def style_term(
    params: Params,
    name: str,
    mean: Scalar,
    game: Game,
    variables: Variables,
    key: Key,
    place: Index,
    known: Known | None,
) -> tuple[Scalar, Scalar]:
    """A term of G's loss that looks at its styles, on examples of its own.

    Args:
      params: G's parameters.
      name: of the term.
      mean: running mean that it keeps.
      game: the GAN.
      variables: G's other collections, which stay.
      key: of the update.
      place: int32 [batch], of the examples in the whole batch.
      known: of the examples, or None.

    Returns:
      The term's mean over the examples, and its running mean afterwards.
    """
    own = stream(key, name)
    condition = game.conditioning.draw(own, place, known)
    z = latents(stream(own, "latent"), place, game.config.latent)
    styles, _ = draw_styles(
        game.g_network, params, variables, z, condition, game.config.style_mixing, own, place
    )
    painter = Painter(
        styles,
        lambda styles: synthesize(game, params, variables, styles, own, place),
        mean,
        stream(own, "direction"),
        place,
        game.axis_name,
    )
    return GENERATOR_PENALTIES[name](painter)


def _update_lazily(
    game: Game,
    player: NetState,
    name: str,
    term: Callable[[Params, str, Scalar], tuple[Scalar, Scalar]],
    number: Int[Array, ""],
    latest: Mapping[str, Scalar],
) -> tuple[NetState, Mapping[str, Scalar]]:
    """Makes G's update by one term if it is due: G, and the term's `latest`.

    Its gradient is the whole one, the interval's number of times.
    """
    weight, interval = game.config.generator_penalties[name]

    def update() -> tuple[NetState, Mapping[str, Scalar]]:
        whole = {name: (weight * interval, 1)}
        grads, moved = generator_terms(whole, term, player.params, number, {name: latest})
        grads = pmean(grads, game.axis_name)
        return update_player(player, grads, player.variables, game.g_optimizer), moved[name]

    return jax.lax.cond(number % interval == 0, update, lambda: (player, dict(latest)))


def update_generator(
    game: Game, state: GANState, batch: Batch, shared: Drawn | None
) -> tuple[GANState, Metrics]:
    """Makes G's update, on fresh noise or on examples that D has just seen.

    Args:
      game: the GAN.
      state: after D's updates.
      batch: of the whole step.
      shared: those examples; None draws fresh ones.

    Returns:
      The state after the step, and the metrics.
    """
    config, aux = game.config, state.aux
    real, known = split_updates(game, state, batch)
    key = stream(state.key, "generator update", state.step)

    def gradient(examples: Any, part: int) -> Any:
        images, chosen, place = examples
        drawn = draw(game, state.generator, key, place, chosen) if shared is None else shared
        (_, metrics), d_images = jax.value_and_grad(generator_loss, has_aux=True)(
            drawn.images, game, state, drawn.condition, images, place, key, part
        )
        return drawn.pull(d_images)[0], metrics, drawn.variables

    images, chosen = batch_of_generator(game, real, known)
    whole = example_index(images.shape[0], game.axis_name)
    grads, metrics, variables = mean_over_parts(
        gradient, (images, chosen, whole), game.generator_parts
    )
    terms = jax.grad(weight_terms)(
        state.generator.params,
        config.generator_orthogonal,
        config.historical_averaging,
        aux.get("history", {}).get("generator"),
    )
    lazy = lazy_terms(config, config.generator_penalties)
    place, some = share_of_batch((whole, chosen))
    term = partial(style_term, game=game, variables=variables, key=key, place=place, known=some)
    at_once = {name: x for name, x in config.generator_penalties.items() if name not in lazy}
    latest = dict(aux.get("generator_penalty", {}))
    if at_once:
        of_styles, moved = generator_terms(
            at_once, term, state.generator.params, state.step, latest
        )
        terms = jax.tree.map(jnp.add, terms, of_styles)
        latest |= moved
    grads = pmean(jax.tree.map(jnp.add, grads, terms), game.axis_name)
    g = update_player(state.generator, grads, variables, game.g_optimizer)
    for name in lazy:
        g, latest[name] = _update_lazily(game, g, name, term, state.step, latest[name])
    if latest:
        aux = {**aux, "generator_penalty": pmean(latest, game.axis_name)}
        metrics = {**metrics, **{f"generator/{n}": x["value"] for n, x in latest.items()}}
    if config.ema_decay is not None:
        decay = ramped_decay(
            config.ema_decay,
            config.ema_ramp,
            config.ema_schedule,
            state.step + 1,
            game.spec.size,
        )
        g = move_average(g, decay)
    g = move_profiles(g, config.ema_profiles, state.step + 1)
    if config.historical_averaging:
        current = {"generator": g.params, "discriminator": state.discriminator.params}
        aux = {**aux, "history": move_history(aux["history"], current, state.step)}
    if config.ada_target is not None:
        aux = {**aux, **adapt_augment(config, aux, state.step, game.spec.size)}
    metrics = {**pmean(metrics, game.axis_name), "generator/gradient_norm": global_norm(grads)}
    return dataclasses.replace(state, step=state.step + 1, generator=g, aux=aux), metrics
