"""WaveGAN (Donahue et al. 2019) on spoken digits: what their classifier says of its samples.

Command:   python experiments/wavegan_digits.py
Needs:     the data set spoken_digits (`genjax data import`, from free-spoken-digit-dataset), two
           CPU cores, an hour
Writes:    runs/experiments/wavegan_digits, the folder of the run, and
           experiments/results/wavegan_digits.md and .png; a second call only measures it

The classifier is trained on the 2,700 recordings of the training split and names those of the test
split, of the same six speakers (`genjax evaluate --train-features spoken_digits`). Inception score,
from 1 to 10, and Frechet distance to the training recordings are those of 1,000 samples of the last
checkpoint, of the 300 test recordings, and of noise: Gaussian noise with the loudness of recordings
over time, averaged over all of them.

Run on 2026-11-28 on two cores of an AMD EPYC, jax 0.10.2. Samples are voiced and as long as a word,
under noise that recordings do not have; the distance was still falling (18.5 at step 3,750), so a
longer run would be better.
"""

from pathlib import Path

import numpy as np
from rich.console import Console

from genjax.core.schema import Source
from genjax.data.progress import no_progress
from genjax.data.sources import load, load_held_out
from genjax.domains import domain_of
from genjax.domains.domain import Layout
from genjax.domains.previews import save_previews
from genjax.errors import UserError
from genjax.evals.classifier import Trained, read_classifier
from genjax.evals.classifier_training import train_features
from genjax.evals.features import extract
from genjax.evals.frechet import frechet_distance, measure_moments
from genjax.evals.inception_score import inception_score
from genjax.presets import preset
from genjax.run.loop import train
from genjax.run.opening import open_run
from genjax.run.sampling import samples_of
from genjax.run.startup import prepare_process

RUN = Path("runs/experiments/wavegan_digits")
RESULT = Path("experiments/results/wavegan_digits.md")
SAMPLES = 1000
CHUNK = 100


def classifier() -> Trained:
    """The classifier of the data set, trained where it is missing."""
    try:
        return read_classifier("spoken_digits")
    except UserError:
        return train_features("spoken_digits", None, no_progress)


def make_noise(real: np.ndarray) -> np.ndarray:
    """Noise as loud as recordings are on average at each time; int16 [1000, samples, 1]."""
    loudness = np.sqrt(np.mean(np.square(real.astype(np.float64)), axis=0))
    noise = np.random.default_rng(0).standard_normal((SAMPLES, *real.shape[1:])) * loudness
    return np.clip(np.rint(noise), -32_768, 32_767).astype(np.int16)


def everything(source: Source) -> np.ndarray:
    """All examples of a source."""
    starts = range(0, source.count, CHUNK)
    numbers = (np.arange(start, min(start + CHUNK, source.count)) for start in starts)
    return np.concatenate([np.asarray(source.read(some)["audio"]) for some in numbers])


def main() -> None:
    """Trains what is missing, measures, and writes the table."""
    prepare_process()
    console = Console(markup=False)
    experiment = preset("wavegan-digits")
    source, held_out = load(experiment.data), load_held_out(experiment.data)
    assert held_out is not None
    trained = classifier()
    if not (RUN / "generator.safetensors").exists():
        train(experiment, RUN, source, console, (RUN / "config.json").exists())
    run = open_run(RUN, "last")
    samples = everything(samples_of(run, "samples", {}, SAMPLES, 0, CHUNK))
    real = everything(source)
    sets = {
        "test recordings": everything(held_out),
        f"samples of step {run.step:,}": samples,
        "noise": make_noise(real),
    }

    def features(waves: np.ndarray):
        chunks = (waves[start : start + CHUNK] for start in range(0, len(waves), CHUNK))
        return extract(trained.network, chunks, CHUNK)

    reference = measure_moments(features(real).features)
    lines = ["| | Inception score | Frechet distance | digits named |", "| --- | --- | --- | --- |"]
    for name, waves in sets.items():
        found = features(waves)
        assert found.logits is not None
        score = inception_score(found.logits, 0).value
        distance = frechet_distance(reference, measure_moments(found.features))
        named = len(np.unique(found.logits.argmax(axis=1)))
        lines.append(f"| {name} | {score:.2f} | {distance:.2f} | {named} |")
    text = (
        f"Through the classifier {trained.network.hash}, which names {trained.accuracy:.2%} of the "
        "test recordings rightly:\n\n" + "\n".join(lines) + "\n"
    )
    RESULT.write_text(text, encoding="utf-8")
    console.print(text, markup=False)
    previews = domain_of("audio").render(samples[:16], run.schema.facts, Layout())
    save_previews(
        RESULT.with_suffix(""), [preview for preview in previews if hasattr(preview, "pixels")]
    )


if __name__ == "__main__":
    main()
