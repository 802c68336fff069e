"""Numbers of the first step of each preset, stored so that a change of them is noticed.

Where they were changed on purpose, `GENJAX_RENEW_GOLDEN=1 pytest -m '' tests/contract_test.py`
stores those that moved; the difference belongs into the commit that says why.
"""

import json
import os
from collections import defaultdict
from pathlib import Path

import jax
import numpy as np

STORED = Path(__file__).with_name("golden")
RENEW = "GENJAX_RENEW_GOLDEN"
# Compilers and processors order sums differently.
RELATIVE = 2e-4
# A mean of terms that cancel, such as D's logits, is only as exact as the terms.
ABSOLUTE = 2e-6


def norm(tree) -> float:
    """The Euclidean norm of all arrays of a tree, in float64."""
    return float(np.sqrt(sum(np.square(np.float64(leaf)).sum() for leaf in jax.tree.leaves(tree))))


def step_numbers(metrics, before, after) -> dict[str, float]:
    """What a step has computed: its metrics, and norms of what it has made of each player.

    Args:
      metrics: of the step, by name.
      before: `NetState` by player.
      after: `NetState` by player, after the step.

    Returns:
      For each player, beside the metrics: ``initial`` and ``moved`` of its parameters; ``moved`` of
      each other collection; each moment of its optimizer, because Adam's first step is as long
      whatever its decay rates are.
    """
    numbers = {name: float(value) for name, value in metrics.items()}
    for player, new in after.items():
        old = before[player]
        numbers[f"{player}/initial"] = norm(old.params)
        numbers[f"{player}/moved"] = norm(jax.tree.map(np.subtract, new.params, old.params))
        for name, collection in new.variables.items():
            change = jax.tree.map(np.subtract, collection, old.variables[name])
            numbers[f"{player}/{name} moved"] = norm(change)
        moments = defaultdict(list)
        for path, leaf in jax.tree_util.tree_leaves_with_path(new.opt):
            name = [key.name for key in path if isinstance(key, jax.tree_util.GetAttrKey)][-1]
            moments[name].append(leaf)
        for name in moments.keys() - {"count"}:
            numbers[f"{player}/optimizer {name}"] = norm(moments[name])
    return numbers


def check_golden(name, numbers, folder=STORED) -> None:
    """Compares numbers with those that are stored, or stores those that moved.

    Args:
      name: of the preset.
      numbers: by name.
      folder: where the stored ones lie.

    Raises:
      AssertionError: some have moved, and they are not to be stored.
    """
    path = folder / f"{name}.json"
    stored = json.loads(path.read_text()) if path.exists() else {}

    def close(key) -> bool:
        if key not in stored or key not in numbers:
            return False
        return bool(np.isclose(numbers[key], stored[key], rtol=RELATIVE, atol=ABSOLUTE))

    moved = [key for key in sorted({**stored, **numbers}) if not close(key)]
    if moved and os.environ.get(RENEW) == "1":
        now = {key: float(f"{value:.6g}") for key, value in numbers.items() if key in moved}
        kept = {key: value for key, value in stored.items() if key not in moved}
        path.write_text(json.dumps({**kept, **now}, indent=2, sort_keys=True) + "\n")
        return
    lines = [f"{key}: {stored.get(key)} is {numbers.get(key)}" for key in moved]
    assert not moved, (
        f"the first step of {name} does not give the numbers of {path.name}; if that is meant, "
        f"`{RENEW}=1 pytest -m '' tests/contract_test.py` stores them anew:\n" + "\n".join(lines)
    )
