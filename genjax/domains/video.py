"""Frames one after the other, as a GIF or an MP4."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from genjax.errors import UserError

ENDINGS = (".gif", ".mp4")


def save_video(
    path: Path, frames: Sequence[UInt8[np.ndarray, "height width channels"]], rate: float
) -> None:
    """Writes frames as a video that repeats (GIF) or ends (MP4); whole or not at all.

    Args:
      path: of the file; its ending says which.
      frames: uint8, all of one size, of 1 channel for grey or 3 for RGB.
      rate: frames a second.

    Raises:
      UserError: an MP4 is asked for without the package that encodes it.
    """
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    try:
        (_save_gif if path.suffix.lower() == ".gif" else _save_mp4)(part, frames, rate)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_video(path: Path) -> None:
    """Raises UserError where the package for such a file is missing."""
    if path.suffix.lower() == ".mp4":
        try:
            import imageio_ffmpeg  # noqa: F401
        except ImportError:
            raise UserError(
                f"{path} needs an encoder: pip install 'genjax-models[video]', or write a .gif"
            ) from None


def _save_gif(path: Path, frames: Sequence[np.ndarray], rate: float) -> None:
    images = [Image.fromarray(f.squeeze(-1) if f.shape[-1] == 1 else f) for f in frames]
    # One palette for all, so that colours do not flicker.
    sheet = Image.fromarray(np.concatenate([np.asarray(x.convert("RGB")) for x in images]))
    palette, dither = sheet.quantize(256), Image.Dither.NONE
    first, *more = (x.convert("RGB").quantize(palette=palette, dither=dither) for x in images)
    duration = round(1000 / rate)
    first.save(path, save_all=True, append_images=more, duration=duration, loop=0, optimize=False)


def _save_mp4(path: Path, frames: Sequence[np.ndarray], rate: float) -> None:
    from imageio_ffmpeg import write_frames

    height, width = frames[0].shape[:2]
    # H.264 has no odd sides.
    even = [(0, height % 2), (0, width % 2), (0, 0)]
    stream = write_frames(
        str(path), (width + width % 2, height + height % 2), fps=rate, macro_block_size=1
    )
    with warnings.catch_warnings():
        # The child only starts the encoder.
        warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
        stream.send(None)
    for frame in frames:
        colour = np.broadcast_to(frame, (*frame.shape[:2], 3))
        stream.send(np.ascontiguousarray(np.pad(colour, even, mode="edge")))
    stream.close()
