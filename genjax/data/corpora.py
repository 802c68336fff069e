"""What is known of the standard texts and recordings."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from genjax.core.schema import Schema
from genjax.data.schema import audio_schema, token_schema
from genjax.data.standard import Remote, Standard

WINDOW = 64
"""Tokens in an example where no length is given."""
SAMPLES = 8192
"""Samples in an example where no length is given."""


class Place(NamedTuple):
    """Where a recording belongs.

    Attributes:
      split: of the set.
      label: number of its class.
      order: what it is sorted by.
    """

    split: str
    label: int
    order: tuple[int | str, ...]


@dataclasses.dataclass(frozen=True)
class StandardText:
    """A text that everyone means the same thing by.

    Attributes:
      members: names that its file has.
      sha256: of the file.
      counts: characters of each split.
      characters: all that it has, sorted.
      files: where it is.
    """

    members: tuple[str, ...]
    sha256: str
    counts: Mapping[str, int]
    characters: str
    files: tuple[Remote, ...]

    def schema(self, length: int | None = None) -> Schema:
        """Of windows of so many characters."""
        facts = {"tokenizer": "character", "vocabulary": list(self.characters)}
        return token_schema(length or WINDOW, len(self.characters), facts)


@dataclasses.dataclass(frozen=True)
class StandardRecordings:
    """Recordings that everyone means the same thing by.

    Attributes:
      folder: where they lie in what is published, if not at the top.
      pattern: of the names of files.
      place: from a name that matches to where the recording belongs.
      rate: samples a second.
      counts: recordings of each split.
      class_names: in the order of the labels.
      files: where they are, if genjax can get them.
    """

    folder: str
    pattern: re.Pattern[str]
    place: Callable[[re.Match[str]], Place]
    rate: int
    counts: Mapping[str, int]
    class_names: tuple[str, ...]
    files: tuple[Remote, ...] = ()

    def schema(self, length: int | None = None) -> Schema:
        """Of so many samples of each."""
        names = self.class_names
        return audio_schema(length or SAMPLES, self.rate, len(names), names)


_SHAKESPEARE = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
_CHAR_RNN = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"

TEXTS: Mapping[str, StandardText] = {
    "tinyshakespeare": StandardText(
        members=("tinyshakespeare.txt", "input.txt"),
        sha256=_SHAKESPEARE,
        counts={"train": 1_003_854, "test": 111_540},
        characters="\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        files=(Remote(f"{_CHAR_RNN}input.txt", 1_115_394, _SHAKESPEARE),),
    ),
}
"""Texts by name."""


def _digit(match: re.Match[str]) -> Place:
    """The first five of each digit and speaker are for testing."""
    digit, speaker, number = match.groups()
    split = "test" if int(number) < 5 else "train"
    return Place(split, int(digit), (digit, speaker, int(number)))


RECORDINGS: Mapping[str, StandardRecordings] = {
    # github.com/Jakobovski/free-spoken-digit-dataset, whose README says how it is split.
    "spoken_digits": StandardRecordings(
        folder="recordings",
        pattern=re.compile(r"([0-9])_([a-z]+)_([0-9]{1,4})\.wav"),
        place=_digit,
        rate=8000,
        counts={"train": 2_700, "test": 300},
        class_names=tuple("0123456789"),
    ),
}
"""Recordings by name."""


def remote_files(standard: Mapping[str, Standard]) -> dict[str, tuple[Remote, ...]]:
    """What genjax can download of each standard set; nothing where a user must have the files.

    Args:
      standard: sets of images, by name.

    Returns:
      The files of those, of the texts and of the recordings, by name.
    """
    files = {name: images.files for name, images in standard.items()}
    files |= {name: text.files for name, text in TEXTS.items()}
    return files | {name: recordings.files for name, recordings in RECORDINGS.items()}
