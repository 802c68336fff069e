"""Made-up records of an ablation, for the tests of what reads them."""

import json


def make_record(variant="base", seed=0, score=1.0, best=None, **changes):
    """A record whose scores are `up`, and `down_1` with the opposite sign."""
    best = score if best is None else best
    record = {
        "ablation": "small",
        "baseline": "base",
        "variant": variant,
        "seed": seed,
        "config_hash": f"{variant}-{seed}",
        "steps": 1000,
        "status": "ok",
        "reason": None,
        "scores": {
            "last": {"step": 1000, "up": score, "down_1": -score},
            "best": {"step": 500, "up": best, "down_1": -best},
        },
        "better": {"up": "higher", "down_1": "lower"},
        "curve": {"step": [500, 1000], "evaluation/up": [best, score]},
        "protocol": {
            "up": {"features": {"name": "classifier", "hash": "abc"}, "samples": 1000},
            "down_1": {"features": None, "samples": 1000},
        },
        "commit": "ab12",
        "versions": {"genjax": "0.1.0", "jax": "0.10.2"},
        "device": "1 x cpu",
        "seed_mode": "vmap",
        "times": {"started": "2026-11-25T08:00:00Z", "train_s": 2.0 + seed, "evaluate_s": 0.5},
    }
    return {**record, **changes}


def make_failed(variant="base", seed=0, reason="step 7: loss is nan"):
    """A record of a run that failed."""
    failed = {"status": "failed", "reason": reason, "scores": {}, "better": {}, "protocol": {}}
    return make_record(variant, seed, curve={}, **failed)


def write_records(path, records):
    """Writes JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
