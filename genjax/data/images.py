"""Single images: decoding PNG and JPEG, and resizing."""

import io
import re
import warnings
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from genjax.errors import UserError, reason

Image = npt.NDArray[np.uint8]

_PNG = b"\x89PNG\r\n\x1a\n"
_GREY_MODES = ("1", "L", "LA")
_ORIENTATION = 0x0112
# What turns a picture upright, by Pillow's names, for each value of EXIF's orientation but 1.
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
# Those that make the height the width.
_QUARTER_TURNS = (5, 6, 7, 8)
# In a PNG, Pillow looks for an orientation behind the pixels, which takes decoding them.
_ORIENTED = re.compile(rb"exif|orientation", re.IGNORECASE)


def decode(
    content: bytes,
    channels: int,
    where: str,
    resolution: int | None = None,
    white: bool = False,
) -> Image:
    """Decodes a PNG or JPEG and turns it upright.

    Args:
      content: the file's bytes.
      channels: 1 for grey, 3 for RGB; the image is converted.
      where: what to call the image in an error.
      resolution: side to resize to, see `resize`.
      white: lay what is transparent on white; otherwise transparency is dropped.

    Returns:
      uint8 [h, w, channels].

    Raises:
      UserError: it cannot be decoded, or has more than 8 bits a channel or several frames.
    """
    from PIL import Image as pillow

    mode = "L" if channels == 1 else "RGB"
    try:
        picture = _open(content, where)
        orientation = _orientation(picture, content)
        if white and picture.has_transparency_data:
            picture = pillow.fromarray(on_white(np.asarray(picture.convert("RGBA"))))
        if picture.mode != mode:
            picture = picture.convert(mode)
        if orientation in _TURNS:
            picture = picture.transpose(pillow.Transpose[_TURNS[orientation]])
        return _array(_square(picture, resolution))
    except UserError:
        raise
    # There is little that a damaged file can't make Pillow raise.
    except Exception as error:
        raise _unreadable(where, error) from error


def describe(content: bytes, where: str) -> tuple[int, int, int]:
    """Reads an image's header, and checks a PNG's checksums, which Pillow's decoder does not.

    Args:
      content: the file's bytes.
      where: what to call the image in an error.

    Returns:
      Height and width of the upright image, and channels: 1 if grey, otherwise 3.

    Raises:
      UserError: as `decode`.
    """
    try:
        picture = _open(content, where)
        if picture.format == "PNG":
            _check_chunks(content)
        orientation = _orientation(picture, content)
    except UserError:
        raise
    except Exception as error:
        raise _unreadable(where, error) from error
    width, height = picture.size
    if orientation in _QUARTER_TURNS:
        height, width = width, height
    return height, width, 1 if picture.mode in _GREY_MODES else 3


def on_white(image: Image) -> Image:
    """Lays an image on white: ``(a x + (255 - a) 255) / 255``, rounded.

    Args:
      image: uint8 [..., h, w, 4], red, green, blue and opacity ``a``.

    Returns:
      uint8 [..., h, w, 3].
    """
    colours, opacity = image[..., :3].astype(np.uint16), image[..., 3:].astype(np.uint16)
    return ((colours * opacity + (255 - opacity) * 255 + 127) // 255).astype(np.uint8)


def is_grey(image: Image) -> bool:
    """Whether the three channels of an image are the same; uint8 [h, w, 3]."""
    return bool((image == image[..., :1]).all())


def encode(image: Image) -> bytes:
    """Encodes an image as PNG.

    Args:
      image: uint8 [h, w, c] with c of 1 or 3.

    Returns:
      The file's bytes.
    """
    stream = io.BytesIO()
    _picture(image).save(stream, "PNG")
    return stream.getvalue()


def resize(image: Image, resolution: int | None) -> Image:
    """Crops the central square and resizes it with Lanczos' filter, antialiased.

    Args:
      image: uint8 [h, w, c] with c of 1 or 3.
      resolution: side of the result in pixels; None leaves the image as it is.

    Returns:
      uint8 [resolution, resolution, c], or the image itself if it has that size already.
    """
    if resolution is None or image.shape[:2] == (resolution, resolution):
        return image
    return _array(_square(_picture(image), resolution))


def _open(content: bytes, where: str) -> Any:
    from PIL import Image as pillow

    if not content:
        raise UserError(f"{where} is empty (0 bytes); remove it or get it again")
    # Pillow silently drops the low byte of 16-bit colour, so look at the file's own bit depth.
    deep = content[:8] == _PNG and content[24:25] == b"\x10"
    picture = pillow.open(io.BytesIO(content), formats=("PNG", "JPEG"))
    if deep or picture.mode.startswith(("I", "F")):
        raise UserError(f"{where} has more than 8 bits a channel; convert it to 8 bits")
    # Phones put further pictures, such as depths, behind the first of a JPEG.
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise UserError(f"{where} is animated; keep one frame of it or remove it")
    return picture


def _orientation(picture: Any, content: bytes) -> int:
    """EXIF's orientation; 1, which is upright, where there is none or it can't be read."""
    if picture.format == "PNG" and not _ORIENTED.search(content):
        return 1
    # What a camera wrote beside the pixels may be anything, of which Pillow also warns.
    with warnings.catch_warnings(action="ignore"):
        try:
            return int(picture.getexif().get(_ORIENTATION, 1))
        except Exception:
            return 1


def _check_chunks(content: bytes) -> None:
    """Raises ValueError unless all chunks of a PNG, up to its end, have their checksums."""
    start, kind = len(_PNG), b""
    while kind != b"IEND":
        end = start + 8 + int.from_bytes(content[start : start + 4])
        kind = content[start + 4 : start + 8]
        if end + 4 > len(content):
            raise ValueError("it is truncated")
        if zlib.crc32(content[start + 4 : end]) != int.from_bytes(content[end : end + 4]):
            raise ValueError("it is damaged, a checksum is wrong")
        start = end + 4


def _unreadable(where: str, error: Exception) -> UserError:
    why = reason(error)
    if "cannot identify" in why:
        why = "neither PNG nor JPEG"
    return UserError(f"cannot read the image {where}: {why}; remove it or get it again")


def _picture(image: Image) -> Any:
    from PIL import Image as pillow

    return pillow.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _array(picture: Any) -> Image:
    array = np.asarray(picture, np.uint8)
    return array[..., None] if array.ndim == 2 else array


def _square(picture: Any, resolution: int | None) -> Any:
    from PIL import Image as pillow

    if resolution is None or picture.size == (resolution, resolution):
        return picture
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    # Not resize(box=...): its filter would reach beyond the square.
    square = picture.crop((left, top, left + side, top + side))
    return square.resize((resolution, resolution), pillow.Resampling.LANCZOS)
