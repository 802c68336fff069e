"""What is said in sounds that a user names, for models that make images of speech."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genjax.core.schema import Spec
from genjax.data.sounds import MOST_RATE, read_sound
from genjax.data.spoken import SPEECH
from genjax.domains.audio import log_spectra
from genjax.errors import UserError
from genjax.run.sampling import HostCondition

_MOST = 256
_MOST_SAMPLES = 2**24


def speech_in_files(spec: Spec, paths: Sequence[Path]) -> HostCondition:
    """What a model is given for recordings.

    They are resampled, and cut or filled with silence to what the data have of a recording.

    Args:
      spec: of its data.
      paths: WAV files.

    Returns:
      The spectrograms, float32 [n, times, frequencies], by field.

    Raises:
      UserError: a file can't be used, or there are too many; or the data do not say what their
        spectrograms are of.
    """
    if len(paths) > _MOST:
        raise UserError(f"there are {len(paths)} sounds; at most {_MOST} are taken at once")
    known = spec.facts.get(SPEECH)
    # A manifest may say anything.
    known = known if isinstance(known, dict) else {}
    rate, samples = known.get("sample_rate"), known.get("samples")
    if not isinstance(rate, int) or not isinstance(samples, int):
        rate = samples = 0
    if not 1 <= rate <= MOST_RATE or not 1 <= samples <= _MOST_SAMPLES:
        raise UserError("the data do not say how long their recordings are; give --examples")
    waves = np.zeros((len(paths), samples, 1), np.int16)
    for wave, path in zip(waves, paths, strict=True):
        heard = read_sound(path, rate)[:samples]
        wave[: len(heard), 0] = heard
    found = log_spectra(waves)
    if found.shape[1:] != spec.fields[SPEECH].shape:
        raise UserError("the data have other spectrograms than those of sounds; give --examples")
    return {SPEECH: found}
