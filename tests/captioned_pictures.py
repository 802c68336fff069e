"""Pictures with captions in the forms that can be imported."""

import io
import json

import numpy as np
from PIL import Image

from genjax.config import DataConfig
from genjax.data.sources import load
from genjax.domains.captions import decode_caption
from genjax.errors import UserError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (30, 6, 6, 4), dtype=np.uint8)
COLOURS = ["red", "green", "blue"]
SHAPES = ["square", "circle", "star", "cross", "ring"]
VOCABULARY = ["[UNK]", "[CLS]", "[SEP]", *COLOURS, *SHAPES, "a", "one", ",", "##s"]


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def on_white(pixels):
    """By Pillow, which rounds its own way."""
    picture = Image.fromarray(pixels)
    white = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"))


def caption_of(number):
    return f"a {COLOURS[number % 3]} {SHAPES[number % 5]}"


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        content = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(content)
    return folder


def table(rows):
    return "\n".join(json.dumps(row) for row in rows) + "\n"


def pictures(count=30):
    return {f"{number}.png": png(PIXELS[number]) for number in range(count)}


def as_table(count=30):
    rows = [
        {"file": f"{n}.png", "captions": [caption_of(n), f"one {caption_of(n)[2:]}"]}
        for n in range(count)
    ]
    return {**pictures(count), "captions.jsonl": table(rows)}


def as_pairs(count=30):
    texts = {f"{n}.txt": f"{caption_of(n)}\r\n\none  {caption_of(n)[2:]}\n" for n in range(count)}
    return {**pictures(count), **texts}


def open_set(directory, name="mine", split="train", **options):
    return load(DataConfig(name, split, directory=str(directory), **options))


def by_picture(directory, name="mine", **options):
    """The captions of each picture of all splits, by its bytes, and the split."""
    found = {}
    for split in ("train", "validation", "test"):
        try:
            source = open_set(directory, name, split, **options)
        except UserError:
            continue
        arrays = source.read(np.arange(source.count))
        for image, captions in zip(arrays["image"], arrays["caption"], strict=True):
            texts = [decode_caption(source.schema.facts, row) for row in captions]
            found[image.tobytes()] = (split, [text for text in texts if text])
    return found


def tiles(tmp_path, names, pixels=PIXELS, ending="\n"):
    (tmp_path / "raw").mkdir()
    np.save(tmp_path / "raw" / "some.npy", pixels)
    (tmp_path / "raw" / "names.txt").write_text("\n".join(names) + ending)
    return tmp_path / "raw"


IDS = ["1f44b", "1f44b-1f3fb", "1f44b-1f3ff", "1f469", "1f469-200d-1f680", "2764-fe0f-200d-1f525"]


def emoji(styles=("google", "twitter"), extra=()):
    ids = [*IDS, *(f"{n:x}" for n in range(100, 124))]
    rows = [
        {
            "id": each,
            "name": f"sign {n}",
            "short": ["x"],
            "keywords": ["sign", ":D", "nice_thing", "good", f"k{n}"],
            "category": "Odd & End" if n % 2 else "Faces",
            "subcategory": "none",
        }
        for n, each in enumerate(ids)
    ]
    files = {
        f"{style}/{each}.png": png(PIXELS[n] if place == 0 else PIXELS[n, ::-1])
        for place, style in enumerate(styles)
        for n, each in enumerate(ids)
    }
    return {**files, "captions.jsonl": table([*rows, *extra])}
