"""What scores are made of, each part made once, when a score first asks for it."""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from safetensors import SafetensorError
from safetensors.numpy import load_file

from genjax.cache import cache_directory
from genjax.core.schema import Source
from genjax.core.tensors import save_tensors
from genjax.data.classes import match_classes, names_of
from genjax.data.progress import Progress, no_progress
from genjax.evals.classifier import Trained, classifier_of
from genjax.evals.embedding import Embedding
from genjax.evals.features import FeatureNetwork, Features, extract
from genjax.evals.inputs import identify, labels_of, shape_of, subset, tracked
from genjax.evals.latents import Latents
from genjax.evals.memorization import Memorization, memorization
from genjax.evals.truth import Truth


class Likelihood(NamedTuple):
    """The likelihood of held-out examples, or bounds on it, under a model that has them.

    Attributes:
      measure: from a source, the numbers of its examples (None for all) and a bar to the mean of
        each quantity and its standard error, which may be None.
      parameters: what each depends on, by the quantity's name.
      most: examples that are measured, where each takes so long that it is done only when asked
        for; None where all are.
    """

    measure: Callable[
        [Source, Int[np.ndarray, "n"] | None, Progress], dict[str, tuple[float, float | None]]
    ]
    parameters: Mapping[str, Mapping[str, Any]]
    most: int | None = None


class Judge(NamedTuple):
    """A joint embedding by which samples and their captions are judged.

    Attributes:
      embedding: of the run.
      name: of the run, with the digest of its weights.
    """

    embedding: Embedding
    name: str


class Comparison:
    """Real images, generated ones, and what feature networks say of them.

    Attributes:
      real: the reference.
      fake: what is scored.
      held_out: images that nothing was trained on, beside the reference, or None.
      network: the feature network, or None where the images are points.
      seed: of all random choices.
      chunk: images passed through a network at once.
      progress: shows how far the work is.
      likelihood: of the model, or None.
      latents: of the samples, where they are of a run that makes them from some, or None.
      embedding: of a run that is a joint embedding and makes no samples; or None.
      clip: what judges samples and their captions, or None.
      truth: the images that samples stand for, or None.
      why_none: why there is no network though there could be, in words; empty otherwise.
    """

    def __init__(
        self,
        real: Source,
        fake: Source,
        held_out: Source | None,
        network: FeatureNetwork | None,
        seed: int = 0,
        chunk: int = 250,
        progress: Progress = no_progress,
        likelihood: Likelihood | None = None,
        why_none: str = "",
        latents: Latents | None = None,
        embedding: Embedding | None = None,
        clip: Judge | None = None,
        truth: Truth | None = None,
    ) -> None:
        """Keeps what is given; nothing is computed yet."""
        self.real = real
        self.fake = fake
        self.held_out = held_out
        self.network = network
        self.seed = seed
        self.chunk = chunk
        self.progress = progress
        self.likelihood = likelihood
        self.why_none = why_none
        self.latents = latents
        self.embedding = embedding
        self.clip = clip
        self.truth = truth

    @functools.cached_property
    def reference(self) -> dict[str, Any]:
        """What a record says of the real examples."""
        return identify(self.real)

    @functools.cached_property
    def test(self) -> dict[str, Any]:
        """What a record says of the held-out examples; only where there are some."""
        assert self.held_out is not None
        return identify(self.held_out)

    @functools.cached_property
    def real_labels(self) -> Int[np.ndarray, "n"] | None:
        """Of the real examples, where they have labels."""
        return labels_of(self.real)

    @functools.cached_property
    def fake_labels(self) -> Int[np.ndarray, "n"] | None:
        """Of the generated examples, where they have labels."""
        return labels_of(self.fake)

    @functools.cached_property
    def matched_labels(self) -> Int[np.ndarray, "n"] | None:
        """Labels of the generated examples as the reference numbers the classes of those names."""
        if self.fake_labels is None or self.real_labels is None:
            return None
        fake, real = self.fake.schema, self.real.schema
        theirs = match_classes(names_of(fake), names_of(real), not fake.facts.get("class_names"))
        return theirs[self.fake_labels]

    @functools.cached_property
    def labelling(self) -> str:
        """First digits of a hash of the reference's labels, in order, and of their names."""
        assert self.real_labels is not None
        digest = hashlib.sha256(np.ascontiguousarray(self.real_labels, "<i4").data)
        digest.update(json.dumps(names_of(self.real.schema)).encode())
        return digest.hexdigest()[:12]

    @functools.cached_property
    def foreign_classes(self) -> list[str]:
        """Names of classes that generated examples have, and the reference does not."""
        if self.matched_labels is None or self.fake_labels is None:
            return []
        foreign = np.unique(self.fake_labels[self.matched_labels < 0])
        return [names_of(self.fake.schema)[label] for label in foreign]

    @functools.cached_property
    def trained(self) -> Trained:
        """The classifier of the reference's data set; raises UserError if it isn't there."""
        return classifier_of(self.real)

    @functools.cached_property
    def classifier(self) -> FeatureNetwork:
        """The same as a feature network; it is `network` itself where that is the same."""
        found = self.trained.network
        own = self.network
        return own if own is not None and own[:3] == found[:3] else found

    @functools.cached_property
    def real_features(self) -> Features:
        """Features of the whole reference."""
        return self._of_reference(self.real)

    @functools.cached_property
    def fake_features(self) -> Features:
        """Features of all generated images."""
        return self._of(self._network, self.fake, "features of samples")

    @functools.cached_property
    def held_out_features(self) -> Features:
        """Features of the held-out images; only where there are some."""
        assert self.held_out is not None
        return self._of_reference(self.held_out)

    @functools.cached_property
    def real_classes(self) -> Features:
        """What the classifier says of the reference."""
        if self.classifier is self.network:
            return self.real_features
        return self._of(self.classifier, self.real, "classes of the reference")

    @functools.cached_property
    def fake_classes(self) -> Features:
        """What the classifier says of the generated images."""
        if self.classifier is self.network:
            return self.fake_features
        return self._of(self.classifier, self.fake, "classes of samples")

    @functools.cached_property
    def closest(self) -> Memorization:
        """How close samples lie to the reference, and which lie closest."""
        return memorization(
            self.real_features.features,
            self.held_out_features.features,
            self.fake_features.features,
        )

    @functools.cached_property
    def equal_numbers(self) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
        """Numbers of as many real as generated images, chosen at random."""
        count = min(self.real.count, self.fake.count)
        return subset(self.real, count, self.seed), subset(self.fake, count, self.seed)

    @property
    def _network(self) -> FeatureNetwork:
        assert self.network is not None
        return self.network

    def _of(self, network: FeatureNetwork, images: Source, what: str) -> Features:
        batches = tracked(images, self.chunk, None, self.progress, what)
        return extract(network, batches, self.chunk)

    def _of_reference(self, images: Source) -> Features:
        """Features of real images, kept on the disk under a key of all that they depend on."""
        network = self._network
        if not network.hash:
            return self._of(network, images, f"features of {images.name}:{images.split}")
        key = {
            **identify(images),
            "shape": shape_of(images),
            "features": [network.name, network.hash, network.resize],
        }
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
        path = cache_directory() / "reference" / f"{digest}.safetensors"
        stored = _read(path)
        if stored is None:
            stored = self._of(network, images, f"features of {images.name}:{images.split}")
            _write(path, stored, key)
        return stored


def _read(path: Path) -> Features | None:
    try:
        arrays = load_file(path)
        return Features(arrays["features"], arrays.get("logits"))
    # What can't be read is made again.
    except (OSError, SafetensorError, KeyError):
        return None


def _write(path: Path, features: Features, key: dict[str, Any]) -> None:
    arrays = {"features": features.features}
    if features.logits is not None:
        arrays["logits"] = features.logits
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may want the same file.
    part = path.with_suffix(f".{os.getpid()}.part")
    save_tensors(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        part,
        metadata={"key": json.dumps(key, sort_keys=True)},
    )
    part.replace(path)
