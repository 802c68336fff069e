"""Files of arrays, as safetensors."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


def save_tensors(
    tensors: Mapping[str, np.ndarray], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes arrays to a file that may be read by whom others of its folder may be read by.

    What safetensors itself writes is its owner's alone, so that nobody else on a cluster could
    sample from a run.

    Args:
      tensors: contiguous, by name.
      path: of the file; what is there is replaced, and no link followed.
      metadata: words that are kept with them.

    Raises:
      OSError: there can't be such a file.
      SafetensorError: it can't be written to its end.
    """
    path.unlink(missing_ok=True)
    path.touch()
    mode = path.stat().st_mode
    save_file(dict(tensors), path, None if metadata is None else dict(metadata))
    path.chmod(mode)
