"""Models that predict each token from those before it, such as GPT."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from genjax.config import GPT, AutoregressiveConfig, AutoregressiveSampling, Decoder
from genjax.core.algorithm import Algorithm, LogLikelihood
from genjax.core.from_loss import Context, NetworkState, from_loss
from genjax.core.optimizers import make_optimizer
from genjax.core.players import apply_training, sampling_variables
from genjax.core.rng import example_keys, stream
from genjax.core.schema import Spec
from genjax.core.types import (
    Batch,
    Condition,
    Index,
    Key,
    Metrics,
    Params,
    PerExample,
    Variables,
)
from genjax.domains.tokenizers import encode
from genjax.errors import UserError
from genjax.nn import transformer

DECODERS: dict[type[Decoder], Callable[[Any, int, int, Any, str | None], nn.Module]] = {
    GPT: lambda config, vocabulary, context, dtype, axis_name: transformer.GPT(
        vocabulary,
        context,
        config.width,
        config.depth,
        config.heads,
        config.dropout,
        dtype,
        axis_name,
    ),
}
"""From a configuration, the vocabulary, the longest text, the type of the computation and the
mapped axis to a network ``(tokens, train) -> logits``."""


def make_autoregressive(
    config: AutoregressiveConfig,
    spec: Spec,
    axis_name: str | None = None,
    accumulate: int = 1,
    sampling: AutoregressiveSampling | None = None,
) -> Algorithm:
    """Builds a model of ``p(x) = prod_t p(x_t | x_<t)``.

    A step minimises ``-log p(x) / T``, the nats a token, averaged over the batch of texts of T
    tokens. The first token is predicted as well, from nothing.

    Args:
      config: the model.
      spec: of the data; what is generated are tokens.
      axis_name: mapped axis over the devices (pmap); None where the program sees the whole batch.
      accumulate: parts of the batch whose gradients are averaged.
      sampling: how tokens are drawn.

    Returns:
      The algorithm. A sample begins with the prompt, if there is one.

    Raises:
      UserError: the data are no tokens, or the prompt has characters that they lack.
    """
    target = spec.fields[spec.target]
    if len(target.shape) != 1 or not target.levels:
        raise UserError(
            f"an autoregressive model generates tokens, but {spec.target!r} is {target.dtype} of "
            f"shape {target.shape}; choose data of the domain tokens"
        )
    [length], vocabulary = target.shape, target.levels
    dtype = jnp.dtype(config.dtype)
    network = DECODERS[type(config.network)](config.network, vocabulary, length, dtype, axis_name)
    drawing = sampling or AutoregressiveSampling()
    begin = encode(spec.facts, drawing.prompt) if drawing.prompt else np.zeros(0, np.int32)

    def variables(key: Key) -> Variables:
        tokens = jnp.zeros((1, length), jnp.int32)
        found: Variables = network.init(stream(key, "init network"), tokens, False)
        return found

    def loss(
        params: Params, batch: Batch, context: Context
    ) -> tuple[Float[Array, ""], tuple[Metrics, Variables]]:
        tokens = batch[spec.target]
        logits, changed = apply_training(
            network, params, context.variables, tokens, rngs={"dropout": context.dropout}
        )
        nats = jnp.mean(token_nats(logits, tokens))
        metrics = {"network/loss": nats, "network/bits_per_token": nats / math.log(2)}
        return nats, (metrics, changed)

    def logits_of(state: NetworkState, tokens: Array) -> Float[Array, "batch time entries"]:
        logits: Any = network.apply(sampling_variables(state.network), tokens, False)
        found: Array = logits
        return found

    def evaluate(state: NetworkState, batch: Batch, key: Key) -> dict[str, PerExample]:
        tokens = batch[spec.target]
        nats = jnp.mean(token_nats(logits_of(state, tokens), tokens), axis=-1)
        return {"evaluation/loss": nats, "evaluation/bits_per_token": nats / math.log(2)}

    def likelihood(state: NetworkState, batch: Batch, key: Key) -> dict[str, PerExample]:
        return {"bits_per_token": evaluate(state, batch, key)["evaluation/bits_per_token"]}

    def sample(
        state: NetworkState, key: Key, index: Index, given: Condition
    ) -> Int[Array, "batch time"]:
        prompt = jnp.broadcast_to(jnp.asarray(begin, jnp.int32), (len(index), len(begin)))
        drawn = transformer.generate(
            lambda tokens: logits_of(state, tokens),
            prompt,
            drawing.length or length,
            length,
            example_keys(key, index),
            drawing.temperature,
            drawing.top_k,
        )
        return jnp.concatenate([prompt, drawn], axis=1)

    minimiser = from_loss(
        NetworkState,
        "network",
        variables,
        loss,
        make_optimizer(config.optimizer, spec.size),
        config.ema_decay,
        config.ema_profiles,
        accumulate,
        axis_name,
    )
    return Algorithm(
        spec=spec._replace(given=()),
        examples=spec.size,
        init=minimiser.init,
        step=minimiser.step,
        sample=sample,
        evaluate=evaluate,
        log_likelihood=LogLikelihood(likelihood, {}),
    )


def token_nats(
    logits: Float[Array, "batch time entries"], tokens: Int[Array, "batch time"]
) -> Float[Array, "batch time"]:
    """``-log p(x_t | x_<t)`` of each token, in nats, float32."""
    losses: Array = optax.softmax_cross_entropy_with_integer_labels(logits, tokens)
    return losses
