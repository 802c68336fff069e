"""DALL-E 2's cascade: a prior makes embeddings of captions, of which a decoder makes images."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from genjax.core.captions import CAPTION
from genjax.core.embeddings import EMBEDDING, embedded_by
from genjax.core.rng import stream
from genjax.domains.vectors import VECTORS
from genjax.errors import UserError
from genjax.evals.embedding import Embedding
from genjax.families.contrastive.reading import check_texts
from genjax.families.registry import FAMILIES, make_spec
from genjax.run.directory import read_config
from genjax.run.embedded import open_embedding
from genjax.run.opening import Run, open_named, parse_run
from genjax.run.sampling import make_sampler


@dataclasses.dataclass(frozen=True)
class PriorChoice:
    """Which prior is used, and how.

    Attributes:
      run: its name, see `genjax.run.opening.parse_run`.
      candidates: embeddings that are drawn for each caption.
      guidance: of the prior.
    """

    run: str
    candidates: int = 2
    guidance: float = 1.0


class Prior:
    """A prior that makes embeddings for a decoder.

    Attributes:
      described: what a record says of it.
    """

    def __init__(self, choice: PriorChoice) -> None:
        """Opens the run.

        Args:
          choice: which, and how.

        Raises:
          UserError: it is not there, or makes no embeddings of captions.
        """
        name, sampling = choice.run, None
        if choice.guidance != 1:
            model = read_config(parse_run(name).folder).model
            options: Any = FAMILIES[type(model)].sampling
            if options is None or not hasattr(options, "guidance"):
                raise UserError(f"--prior is {name}, whose samples have no guidance; leave it out")
            sampling = options(guidance=choice.guidance)
        named = open_named(name, "--prior", sampling)
        run = named.run
        if run.schema.domain != "vectors" or CAPTION not in run.algorithm.spec.given:
            raise UserError(
                f"--prior is {name}, which makes no embeddings of captions; name a run such as one "
                "of prior-emoji"
            )
        self._choice, self._run = choice, run
        self._sampler = make_sampler(run.algorithm, VECTORS)
        self._spec = make_spec(run.experiment, run.schema)
        self.described = {
            "run": f"{run.experiment.name} {_digest(named.name)}",
            "candidates": choice.candidates,
            **run.sampling,
        }

    def embed(
        self, decoder: Run, captions: Int[np.ndarray, "n 1 length"], seed: int
    ) -> Float[np.ndarray, "n size"]:
        """Makes an embedding of each caption.

        Of the candidates that are drawn the one is taken whose product with the embedding of the
        caption is the largest.

        Args:
          decoder: that will make images of them.
          captions: tokens of its data.
          seed: of the draws.

        Returns:
          float32 [n, size], of length 1; row i depends on the seed, on its caption and on i alone.

        Raises:
          UserError: both are of the embeddings of other runs, or read other tokens.
        """
        spec, name = make_spec(decoder.experiment, decoder.schema), self._choice.run
        ours, theirs = (embedded_by(facts) for facts in (spec.facts, self._spec.facts))
        if (
            _digest(ours) != _digest(theirs)
            or spec.fields[EMBEDDING] != self._spec.fields[EMBEDDING]
        ):
            raise UserError(
                f"--prior is {name}, which makes embeddings of {theirs}, but the decoder learnt "
                f"from those of {ours}; both must be of the same run"
            )
        check_texts(self._spec, spec, "--prior")
        rows = np.full((len(captions), 1, self._spec.fields[CAPTION].shape[-1]), -1, np.int32)
        rows[..., : captions.shape[-1]] = captions
        key, count = jax.random.key(seed), len(captions)
        given = {CAPTION: rows}
        drawn = np.stack(
            [
                self._sampler(self._run.state, stream(key, "prior", number), count, given)
                for number in range(self._choice.candidates)
            ]
        )
        if len(drawn) == 1:
            return np.asarray(drawn[0])
        texts = self._texts(ours).embed_tokens(captions[:, 0])
        alike = np.einsum("knd,nd->kn", np.float64(drawn), np.float64(texts))
        best: Float[np.ndarray, "n size"] = drawn[alike.argmax(axis=0), np.arange(count)]
        return best

    def _texts(self, run: str) -> Embedding:
        """What embeds captions, by the run that made the embeddings of the data."""
        try:
            embedding, named = open_embedding(run, "the embedding of the data")
        except UserError as error:
            raise UserError(f"{error}; or give --candidates 1, which needs it not") from None
        own = make_spec(named.run.experiment, named.run.schema)
        check_texts(own, self._spec, "the embedding of the data")
        return embedding


def _digest(name: str) -> str:
    return parse_run(name).digest
