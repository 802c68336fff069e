"""What a score needs before anything is computed, in words where it is not there.

Each function takes what is compared, and returns None where nothing is missing.
"""

from collections.abc import Callable

import numpy as np

from genjax.core.captions import CAPTION
from genjax.data.classes import list_names, names_of
from genjax.data.mixtures import MIXTURES
from genjax.data.stacked import PARTS
from genjax.errors import UserError
from genjax.evals.classifier import FRONTS
from genjax.evals.comparison import Comparison
from genjax.evals.inputs import labels_of
from genjax.evals.stacked import digit_classifier

Need = Callable[[Comparison], str | None]

_MOST_NAMED = 3


def everything(*needs: Need) -> Need:
    """The first of some needs that is not met."""
    return lambda compared: next((words for need in needs if (words := need(compared))), None)


def made(compared: Comparison) -> str | None:
    """Samples."""
    return None if compared.embedding is None else "samples, of which a joint embedding makes none"


def embedding(compared: Comparison) -> str | None:
    """A joint embedding of images and texts."""
    own = compared.embedding
    return None if own and own.images else "a run of a joint embedding, such as clip-emoji"


def captions(compared: Comparison) -> str | None:
    """Samples of captions."""
    known = CAPTION in compared.fake.schema.fields and CAPTION in compared.real.schema.fields
    return pictures(compared) if known else "a run that makes images of captions"


def embeddings_of_captions(compared: Comparison) -> str | None:
    """Samples that are embeddings, of captions."""
    known = compared.real.schema.domain == "vectors" and CAPTION in compared.fake.schema.fields
    return None if known else "a run that makes embeddings of captions, such as prior-emoji"


def judge(compared: Comparison) -> str | None:
    """A joint embedding to judge them by."""
    return None if compared.clip else "a run of a joint embedding to judge by: --clip RUN"


def truth(compared: Comparison) -> str | None:
    """The images that samples stand for."""
    return None if compared.truth else "a run that is given what is derived of images"


def class_names(compared: Comparison) -> str | None:
    """Classes of the held-out data that have names."""
    if "class_names" in compared.real.schema.facts:
        return held_out_labels(compared)
    return "names of the classes"


def network(compared: Comparison) -> str | None:
    """A feature network."""
    if compared.network is not None:
        return None
    none = f"there is none for {compared.real.schema.domain}"
    return f"a feature network, and {compared.why_none or none}"


def features(compared: Comparison) -> str | None:
    """Data that feature networks are for."""
    known = compared.network is not None or compared.real.schema.domain in FRONTS
    return None if known else network(compared)


def pictures(compared: Comparison) -> str | None:
    """Images."""
    return None if compared.real.schema.domain == "image" else "images"


def logits(compared: Comparison) -> str | None:
    """A feature network with classes."""
    own = compared.network
    knows = own is None or own.name == "inception" or own.name.startswith("classifier")
    return None if knows else "a feature network with classes"


def labels(compared: Comparison) -> str | None:
    """Labels of both sets."""
    if compared.fake_labels is None or compared.real_labels is None:
        return "labels of the samples and of the reference (a conditional model)"
    return None


def same_classes(compared: Comparison) -> str | None:
    """No class of the samples that the reference does not have."""
    if foreign := compared.foreign_classes:
        return (
            f"classes of the same names, and the reference has no {_some(foreign)}, but "
            f"{list_names(names_of(compared.real.schema))}; rename the samples' classes"
        )
    return None


def images(least: int) -> Need:
    """So many of either set."""

    def need(compared: Comparison) -> str | None:
        sets = {"the reference has": compared.real.count, "the samples have": compared.fake.count}
        few = [f"{name} {n}" for name, n in sets.items() if n < least]
        return f"{least} examples of each set, and {' and '.join(few)}" if few else None

    return need


def samples(least: int) -> Need:
    """So many generated examples."""

    def need(compared: Comparison) -> str | None:
        few = compared.fake.count < least
        return f"{least} samples, and there are {compared.fake.count}" if few else None

    return need


def two_of_a_class(compared: Comparison) -> str | None:
    """Two samples, of one class where they have classes."""
    if compared.fake_labels is None:
        return samples(2)(compared)
    enough = np.bincount(compared.fake_labels).max() >= 2
    return None if enough else "two samples of a class, and none has more than one"


def two_of_each_class(compared: Comparison) -> str | None:
    """Two images of every class of the reference in either set."""
    if compared.real_labels is None or compared.matched_labels is None:
        return labels(compared)
    names = names_of(compared.real.schema)
    known = np.unique(compared.real_labels)
    few = []
    sets = {"the reference has": compared.real_labels, "the samples have": compared.matched_labels}
    for owner, given in sets.items():
        counts = np.bincount(given[given >= 0], minlength=len(names))[known]
        lacking = [f"{names[c]!r} ({n})" for c, n in zip(known, counts, strict=True) if n < 2]
        if lacking:
            few.append(f"{owner} too few of {_some(lacking)}")
    return f"two images of each class, and {' and '.join(few)}" if few else None


def held_out(compared: Comparison) -> str | None:
    """Data beside the reference that nothing was trained on."""
    return "a test split beside the reference" if compared.held_out is None else None


def held_out_labels(compared: Comparison) -> str | None:
    """Their labels."""
    if compared.held_out is None or labels_of(compared.held_out) is not None:
        return held_out(compared)
    return "labels of the test split"


def classes(compared: Comparison) -> str | None:
    """A classifier of the reference, which must have labels."""
    if compared.real_labels is None:
        return "labels of the reference"
    try:
        assert compared.classifier
    except UserError as error:
        return f"a classifier, and {error}"
    return None


def bounds(compared: Comparison) -> str | None:
    """A model that has a likelihood."""
    return None if compared.likelihood else "a run of a model with a likelihood, such as a VAE"


def latents(compared: Comparison) -> str | None:
    """A model that makes its samples from latents."""
    return None if compared.latents else "a run that makes its samples from a latent, such as a GAN"


def no_condition(compared: Comparison) -> str | None:
    """A model to which nothing but the latent says what to make."""
    own = compared.latents
    return (
        f"an unconditional model, and this one is given {', '.join(own.condition)}"
        if own and own.condition
        else None
    )


def traceable(compared: Comparison) -> str | None:
    """A feature network that takes images that are not rounded to bytes."""
    known = compared.network is None or compared.network.traceable
    return None if known else "a feature network that JAX can compile"


def mixture(compared: Comparison) -> str | None:
    """Points of a known mixture."""
    known = compared.real.schema.facts.get("mixture") in MIXTURES
    return None if known else "points of a known mixture"


def one_digit(compared: Comparison) -> str | None:
    """Examples that a classifier of the data set itself knows."""
    return "images of one thing" if _stacked(compared) else features(compared)


def stacked_digits(compared: Comparison) -> str | None:
    """Images whose channels are digits."""
    return None if _stacked(compared) else "images of stacked digits"


def digits_classifier(compared: Comparison) -> str | None:
    """A classifier of the digits, at their size."""
    try:
        assert digit_classifier(compared.real.schema)
    except UserError as error:
        return f"a classifier, and {error}"
    return None


def _stacked(compared: Comparison) -> bool:
    return compared.real.schema.facts.get("stacked") == PARTS


def _some(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
