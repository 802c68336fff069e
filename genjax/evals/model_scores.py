"""Scores of the model beside its samples: its likelihood and its latents."""

from typing import Literal

from genjax.data.classes import names_of
from genjax.evals.comparison import Comparison
from genjax.evals.inputs import subset
from genjax.evals.latents import codes_of
from genjax.evals.path_length import EPSILON, PERCENTILES, Sampling, path_lengths, trimmed_mean
from genjax.evals.score import Score, judge
from genjax.evals.separability import separability

BOUNDS: dict[str, Literal["higher", "lower"]] = {
    "elbo": "higher",
    "iwae": "higher",
    "log_likelihood": "higher",
    "bits_per_dim": "lower",
    "bits_per_dim_bound": "lower",
    "bits_per_token": "lower",
}
"""What families have, and which side of each is better."""
_SAMPLINGS: tuple[Sampling, ...] = ("full", "end")


def score_likelihood(compared: Comparison) -> list[Score]:
    """The likelihood of held-out examples, or bounds on it."""
    own, held_out = compared.likelihood, compared.held_out
    assert own is not None
    assert held_out is not None
    numbers = None if own.most is None else subset(held_out, own.most, compared.seed)
    found = own.measure(held_out, numbers, compared.progress)
    scores = []
    for name in sorted(found, key=list(BOUNDS).index):
        value, error = found[name]
        parameters = {**own.parameters.get(name, {}), "images": compared.test}
        if numbers is not None:
            parameters["examples"] = len(numbers)
        if error is not None:
            parameters["spread"] = "standard error over examples"
        scores.append(Score(name, value, BOUNDS[name], error, parameters, network=False))
    return scores


def score_ppl(compared: Comparison) -> list[Score]:
    """Through the protocol's features: published lengths are of LPIPS by VGG16."""
    assert compared.latents is not None
    assert compared.network is not None
    scores = []
    for space in compared.latents.spaces:
        for sampling in _SAMPLINGS:
            lengths = path_lengths(
                compared.latents,
                compared.network,
                space,
                sampling,
                compared.fake.count,
                compared.seed,
                compared.chunk,
                compared.progress,
            )
            found = trimmed_mean(lengths)
            parameters = {
                "epsilon": EPSILON,
                "percentiles": list(PERCENTILES),
                "spread": "standard error over ways",
            }
            error = found.standard_error
            scores.append(Score(f"ppl_{space}_{sampling}", found.value, "lower", error, parameters))
    return scores


def score_separability(compared: Comparison) -> list[Score]:
    """Linear separability of latents by the classes of their samples."""
    logits = compared.fake_classes.logits
    assert compared.latents is not None
    assert logits is not None
    names, scores = names_of(compared.real.schema), []
    codes = codes_of(compared.latents, compared.seed, compared.fake.count, compared.chunk)
    for space, own in codes.items():
        value, entropies = separability(own, logits)
        without = [names[label] for label in range(len(names)) if label not in entropies]
        warning = None
        if without and logits.shape[1] > 2:
            warning = f"too few samples are of {', '.join(without)}, or all are"
        scores.append(
            Score(
                f"separability_{space}",
                value,
                "lower",
                parameters={**judge(compared), "kept": 0.5},
                details={"entropies": {names[label]: x for label, x in entropies.items()}},
                network=False,
                warning=warning,
            )
        )
    return scores
