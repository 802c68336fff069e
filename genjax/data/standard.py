"""What is known of the standard data sets: sizes, class names, checksums and official files."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from genjax.core.embeddings import embedding_facts
from genjax.core.schema import Schema
from genjax.data.schema import captioned_schema, embedded_schema, image_schema


@dataclasses.dataclass(frozen=True)
class Remote:
    """A file to download.

    Attributes:
      url: its address, whose last part names the file.
      size: its length in bytes.
      sha256: its checksum, in hexadecimal.
    """

    url: str
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Standard:
    """A data set that everyone means the same thing by, as TensorFlow Datasets describes it.

    Attributes:
      version: the version there.
      shape: height, width and channels of every image.
      counts: number of examples of each split.
      class_names: in the order of the labels; none of a set without.
      files: the official files; none where genjax doesn't get them.
      contents: checksum of each split's images and labels, where known, see `content_hash`.
      id_digits: digits of the feature ``id`` such as ``train_00042``; None without that feature.
    """

    version: str
    shape: tuple[int, int, int]
    counts: Mapping[str, int]
    class_names: tuple[str, ...]
    files: tuple[Remote, ...]
    contents: Mapping[str, str] = dataclasses.field(default_factory=dict)
    id_digits: int | None = None

    @property
    def schema(self) -> Schema:
        """Of its examples."""
        return image_schema(self.shape, len(self.class_names), self.class_names)


def content_hash(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int32]) -> str:
    """Hashes a split independently of the format of its files.

    Args:
      images: uint8 [n, h, w, c], in the official order.
      labels: int32 [n], each below 256.

    Returns:
      SHA-256 of the pixels followed by the labels, one byte each, in hexadecimal.
    """
    digest = hashlib.sha256(np.ascontiguousarray(images).data)
    digest.update(labels.astype(np.uint8).data)
    return digest.hexdigest()


def class_key(name: str) -> str:
    """Reduces a class name to what folder names can be compared by.

    Args:
      name: such as ``T-shirt/top``.

    Returns:
      Such as ``t_shirt_top``.
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower())


# An import has byte pairs of its own captions.
_BYTES = {"tokenizer": "byte", "prompts": ["grinning face", "red apple"]}

_EMOJI = captioned_schema(
    image_schema(
        (64, 64, 3),
        9,
        (
            "Activities",
            "Animals & Nature",
            "Flags",
            "Food & Drink",
            "Objects",
            "People & Body",
            "Smileys & Emotion",
            "Symbols",
            "Travel & Places",
        ),
    ),
    candidates=6,
    length=32,
    vocabulary=1024,
    facts=_BYTES,
)

CAPTIONED: Mapping[str, Schema] = {
    "emoji": _EMOJI,
    "crawl": captioned_schema(
        image_schema((32, 32, 3), 5, ("dungeon", "effect", "item", "misc", "monster")),
        candidates=4,
        length=15,
        vocabulary=1024,
        facts=_BYTES,
    ),
    "emoji_embedded": embedded_schema(
        _EMOJI, 128, embedding_facts("runs/clip-emoji", np.eye(2, 128, dtype=np.float32))
    ),
}
"""Sets with captions that presets name and users import, as an import usually makes them."""

EMBEDDED = {"emoji_embedded": "emoji"}
"""Those of them that are made of another one, by genjax data embed."""

_DIGITS = tuple("0123456789")
_MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_SVHN = "http://ufldl.stanford.edu/housenumbers/"

STANDARD: Mapping[str, Standard] = {
    "mnist": Standard(
        version="3.0.1",
        shape=(28, 28, 1),
        counts={"train": 60_000, "test": 10_000},
        class_names=_DIGITS,
        files=(
            Remote(
                f"{_MNIST}train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            Remote(
                f"{_MNIST}train-labels-idx1-ubyte.gz",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            Remote(
                f"{_MNIST}t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            Remote(
                f"{_MNIST}t10k-labels-idx1-ubyte.gz",
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
        contents={
            "train": "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b",
            "test": "c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b",
        },
    ),
    "fashion_mnist": Standard(
        version="3.0.1",
        shape=(28, 28, 1),
        counts={"train": 60_000, "test": 10_000},
        class_names=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        files=(
            Remote(
                f"{_FASHION}train-images-idx3-ubyte.gz",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            Remote(
                f"{_FASHION}train-labels-idx1-ubyte.gz",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            Remote(
                f"{_FASHION}t10k-images-idx3-ubyte.gz",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            Remote(
                f"{_FASHION}t10k-labels-idx1-ubyte.gz",
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
        contents={
            "train": "16d82e2b505296aa2b78bd5ea0992634f30419a4c97def7c907d154a35ac6157",
            "test": "9f1ec356a747bfe4ebab3cfb722d3694c9ca737e2570f6f90cf31d7b6fd689d4",
        },
    ),
    "cifar10": Standard(
        version="3.0.2",
        shape=(32, 32, 3),
        counts={"train": 50_000, "test": 10_000},
        class_names=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        files=(
            Remote(
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        id_digits=5,
    ),
    # Of https://github.com/alexeygrigorev/clothing-dataset-small the central squares.
    "clothing": Standard(
        version="1.0.0",
        shape=(128, 128, 3),
        counts={"train": 3_068, "validation": 341, "test": 372},
        class_names=(
            "dress",
            "hat",
            "longsleeve",
            "outwear",
            "pants",
            "shirt",
            "shoes",
            "shorts",
            "skirt",
            "t-shirt",
        ),
        files=(),
    ),
    # FFHQ and ImageNet as the tools of StyleGAN and EDM make small images of them, and number the
    # classes.
    **{
        f"ffhq{side}": Standard(
            version="1.0.0",
            shape=(side, side, 3),
            counts={"train": 70_000},
            class_names=(),
            files=(),
        )
        for side in (64, 256)
    },
    "imagenet64": Standard(
        version="1.0.0",
        shape=(64, 64, 3),
        counts={"train": 1_281_167},
        class_names=tuple(map(str, range(1000))),
        files=(),
    ),
    # MedMNIST v2's, which TensorFlow Datasets lacks.
    "pneumonia_mnist": Standard(
        version="1.0.0",
        shape=(28, 28, 1),
        counts={"train": 4_708, "validation": 524, "test": 624},
        class_names=("normal", "pneumonia"),
        files=(),
    ),
    "svhn_cropped": Standard(
        version="3.1.0",
        shape=(32, 32, 3),
        counts={"train": 73_257, "test": 26_032},
        class_names=_DIGITS,
        files=(
            Remote(
                f"{_SVHN}train_32x32.mat",
                182_040_794,
                "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            ),
            Remote(
                f"{_SVHN}test_32x32.mat",
                64_275_384,
                "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            ),
        ),
        id_digits=6,
    ),
}
"""Data sets that genjax prepares by itself. SVHN is taken without its 531,131 ``extra`` images."""
