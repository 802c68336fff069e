"""Files of official tensors: opened by their headers, compared with a table, read, and written."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from genjax.core.tensors import save_tensors
from genjax.errors import UserError, reason
from genjax.official.shapes import Shapes, some
from genjax.official.tensors import LEFT_OUT, Place, Table, Tree, read_tensors, shape_of

_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin")
# Of a zip file, as PyTorch writes them, and of a pickle from protocol 2 on.
_BEGINNINGS = (b"PK\x03\x04", b"\x80")


class Official:
    """A file of official tensors, of which none is read yet.

    Attributes:
      path: of the file.
      shapes: of its tensors, by their names without the prefix.
    """

    def __init__(self, path: Path, prefix: str, integers: tuple[str, ...] = ()) -> None:
        """Reads its header.

        Args:
          path: of the file.
          prefix: of all names, perhaps.
          integers: ends of names of what need not be float32, since it is never read.

        Raises:
          UserError: there is no such file, it is no safetensors file, or its tensors are not
            float32.
        """
        _refuse_pickles(path)
        self.path = path
        try:
            with safe_open(path, "numpy") as file:
                slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
                kinds = {name: str(part.get_dtype()) for name, part in slices.items()}
                shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"cannot read {path} as safetensors: {reason(error)}; docs/weights.md shows how "
                "to write one"
            ) from None
        for name, kind in kinds.items():
            if kind != "F32" and not name.endswith(integers):
                raise UserError(f"{path} has {name} in {kind}, not in F32; save it as .float()")
        self._prefix = prefix if all(name.startswith(prefix) for name in shapes) else ""
        cut = len(self._prefix)
        self.shapes = Shapes(str(path), {name[cut:]: shape for name, shape in shapes.items()})

    def check(self, table: Table, ours: Mapping[Place, tuple[int, ...]], what: str) -> None:
        """Refuses tensors that are not those of a network.

        Args:
          table: of the network.
          ours: shapes of our arrays.
          what: the network, in words.

        Raises:
          UserError: tensors are missing, unknown, or of other shapes.
        """
        found, path = self.shapes.shapes, self.path
        missing = [name for name in table if name not in found]
        unknown = [name for name in found if name not in table]
        words = [f"it lacks {some(missing)}"] if missing else []
        words += [f"it has {some(unknown)}, which that has not"] if unknown else []
        if words:
            raise UserError(
                f"{path} is no {what}: {'; '.join(words)}; save the whole state_dict() of that "
                "network, and of no other, as docs/weights.md shows"
            )
        for name, tensor in table.items():
            if tensor.place[0] == LEFT_OUT:
                continue
            wanted = shape_of(tensor, ours)
            if found[name] != wanted:
                here = None if wanted is None else list(wanted)
                raise UserError(
                    f"{path} has {name} of shape {list(found[name])}, but in a {what} it has {here}"
                )

    def read(self, table: Table) -> Tree:
        """Reads its tensors, in our order.

        Args:
          table: of the network, with which it was checked.

        Returns:
          Our collections by name.

        Raises:
          UserError: what is always the same is something else here, or numbers are not finite.
        """
        with safe_open(self.path, "numpy") as file:
            for name, tensor in table.items():
                if tensor.value is not None:
                    value = file.get_tensor(self._prefix + name)
                    if not np.allclose(value, tensor.value, rtol=0, atol=1e-6):
                        raise UserError(
                            f"{self.path} has another {name} than the official networks have: "
                            f"{value.ravel()[:4].tolist()}..., not "
                            f"{tensor.value.ravel()[:4].tolist()}..."
                        )

            def take(name: str) -> np.ndarray:
                found: np.ndarray = file.get_tensor(self._prefix + name)
                if not np.isfinite(found).all():
                    raise UserError(
                        f"{self.path} has {name} with numbers that are not finite, so that nothing "
                        "can be made of it; take a snapshot from before the training failed"
                    )
                return found

            return read_tensors(table, take)


def write_official(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes tensors so that the file is whole, old or new, whatever happens.

    Raises:
      OSError: it can't be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        # Its error says what of the path is wrong, which that of safetensors does not.
        part.touch()
        save_tensors(tensors, part, {"format": "pt"})
        part.replace(path)
    except SafetensorError as error:
        raise OSError(f"{part}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def check_names(paths: Sequence[Path | None], flags: Sequence[str]) -> None:
    """Refuses files to write that can't be told apart, or not be told from a pickle.

    Raises:
      UserError: two are one, or one does not end in .safetensors.
    """
    known: dict[Path, str] = {}
    for path, flag in zip(paths, flags, strict=True):
        if path is None:
            continue
        if path.suffix != ".safetensors":
            raise UserError(f"{flag} is {path}; it must end in .safetensors, which is written")
        other = known.setdefault(path.absolute(), flag)
        if other != flag:
            raise UserError(f"{other} and {flag} are both {path}; name two files")


def _refuse_pickles(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"no file {str(path)!r}; give a .safetensors file")
    with path.open("rb") as file:
        beginning = file.read(9)
    # A safetensors file begins with a number of 8 bytes, which may be any, and then a brace.
    odd = beginning.startswith(_BEGINNINGS) and not beginning.endswith(b"{")
    if odd or path.suffix.lower() in _PICKLES:
        raise UserError(
            f"{path} is a pickle, which runs what it says when it is read; turn it into a "
            "safetensors file yourself, where you trust it: five lines of Python in "
            "docs/weights.md, with safetensors.torch.save_file(network.state_dict(), FILE)"
        )
