"""Files of events for TensorBoard, written by the thread that calls.

tensorboardX's own writer has a thread, which ends without a word when the disk is full; the caller
then waits for it for ever.
"""

import contextlib
import io
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genjax.domains.domain import Picture, Preview, Sound, Text
from genjax.domains.previews import write_picture, write_sound


@contextlib.contextmanager
def _without(package: str) -> Iterator[None]:
    """Lets imports go on as if a package were not installed, unless it is imported already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


# tensorboardX imports PyTorch where it can, which takes longer than all that is needed here.
with _without("torch"):
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import scalar, text

_FLUSH_S = 10.0
_NUMBER = itertools.count()
_TAG = "samples"


def _picture(picture: Any) -> Any:
    height, width, channels = picture.pixels.shape
    stream = io.BytesIO()
    write_picture(stream, picture)
    image = Summary.Image(
        height=height,
        width=width,
        colorspace=channels,
        encoded_image_string=stream.getvalue(),
    )
    return Summary(value=[Summary.Value(tag=_TAG, image=image)])


def _sound(sound: Any) -> Any:
    stream = io.BytesIO()
    write_sound(stream, sound)
    audio = Summary.Audio(
        sample_rate=sound.rate,
        num_channels=1,
        length_frames=len(sound.wave),
        encoded_audio_string=stream.getvalue(),
        content_type="audio/wav",
    )
    return Summary(value=[Summary.Value(tag=_TAG, audio=audio)])


def _text(shown: Any, tag: str = _TAG) -> Any:
    # TensorBoard takes text for Markdown, in which indented lines are kept as they are.
    return text(tag, "".join(f"    {line}\n" for line in shown.text.splitlines()))


_SUMMARIES: dict[type, Callable[[Any], Any]] = {Picture: _picture, Sound: _sound, Text: _text}


class EventFile:
    """One file of events, in the folder of a run; to be closed at its end."""

    def __init__(self, directory: Path, resumed_at: int | None) -> None:
        """Opens a new file.

        Args:
          directory: of the run.
          resumed_at: TensorBoard hides what earlier files say of the steps after this one.
        """
        # The name has the second; a process may open two in one.
        suffix = f".{os.getpid()}.{next(_NUMBER)}"
        self._writer = EventsWriter(str(directory / "events"), suffix)
        self._flushed = time.monotonic()
        if resumed_at is not None:
            start = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(step=resumed_at + 1, session_log=start))

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds the metrics of a step; they are on the disk some seconds later."""
        for name, value in metrics.items():
            event = Event(step=step, wall_time=time.time(), summary=scalar(name, value))
            self._writer.write_event(event)
        if time.monotonic() - self._flushed > _FLUSH_S:
            self._writer.flush()
            self._flushed = time.monotonic()

    def show(self, step: int, previews: Sequence[Preview]) -> None:
        """Adds what a person sees of the samples of a step: pictures, sounds, texts."""
        for preview in previews:
            summary = _SUMMARIES[type(preview)](preview)
            self._writer.write_event(Event(step=step, wall_time=time.time(), summary=summary))

    def note(self, step: int, tag: str, words: str) -> None:
        """Adds a text that is no sample."""
        summary = _text(Text(words), tag)
        self._writer.write_event(Event(step=step, wall_time=time.time(), summary=summary))

    def close(self) -> None:
        """Writes what is left, and closes the file."""
        self._writer.close()
