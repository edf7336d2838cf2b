"""Makes small result files, as an experiment would write and read them back."""

import json

import numpy as np

from recycle_jax.drift.bands import Bands
from recycle_jax.drift.monitor import log_spaced
from recycle_jax.drift.summary import headline, summarise
from recycle_jax.io.writers import plain
from recycle_jax.report.labels import Label, Labels

LAST, WINDOW = 1024, 8
FRAMES = log_spaced(LAST, dense=16)
WINDOWS = log_spaced(LAST // WINDOW) * WINDOW
BANDS = Bands(
    statistics={
        "nonfinite": (0.0, 0.0),
        "distance": (0.0, 0.004),
        "motion": (0.05, 0.2),
        "retention": (0.7, 1.3),
        "contrast": (0.2, 0.6),
    },
    means={"nonfinite": 0.0, "distance": 4e-4, "motion": 0.1, "retention": 1.0, "contrast": 0.4},
    window=WINDOW,
    max_frames=LAST,
    calibration_exit_fraction=0.04,
    real_exit_fraction=0.03,
    calibration_rollouts=100,
    check_rollouts=100,
)

LABELS = Labels(
    known={
        "b": Label(name="teacher forcing", about="Trained on real history.", group="baselines", marker="o"),
        "b_plus": Label(name="teacher forcing, longer", group="baselines", colour="#CC79A7", marker="s"),
        "noise": Label(name="noise augmentation", colour="#E69F00", marker="^"),
        "pushforward": Label(name="pushforward", colour="#56B4E9", marker="v"),
        "recycle": Label(name="error recycling", about="Trained on its own errors.", colour="#009E73", marker="D"),
        "recycle:told": Label(name="a variant", colour="#117733", marker="*", variant=True),
    },
    always=("b", "b_plus", "recycle"),
)
LIVES = {
    "b": (1.15, 24, 0.5),
    "b_plus": (1.10, 40, 0.6),
    "noise": (1.02, 160, 0.1),
    "pushforward": (1.04, 80, 0.3),
    "recycle": (1.0, 4000, 0.5),
}
"""Method -> growth of its distance a frame, typical exit frame, spread of the exits."""


def rollouts(curve, rng, spread=0.25, rows=16):
    return (curve[:, None] * np.exp(spread * rng.standard_normal((len(curve), rows)))).tolist()


def exits(method, rng, rows=16):
    _, typical, spread = LIVES[method]
    frames = typical * np.exp(spread * rng.standard_normal(rows))
    return np.minimum(np.floor(frames / WINDOW) * WINDOW, LAST).astype(int)


def make_cell(method, seed, world="bouncing_balls", generator="predictor", **extra):
    rng = np.random.default_rng(100 * seed + len(method))
    frames, rate = exits(method, rng), LIVES[method][0]
    n = FRAMES.astype(float)
    distance = np.minimum(4e-4 * rate**n, 0.6) if rate > 1.0 else 9e-4 - 5e-4 * 0.9**n
    drifting = WINDOWS / frames.mean()
    retention = 1.0 / (1.0 + drifting) if method == "noise" else np.ones_like(drifting)
    cause = "retention" if method == "noise" else "distance+motion"
    extent = 1.0 if method in ("b", "recycle") else 1.5
    return {
        "world": world,
        "generator": generator,
        "method": method,
        "seed": seed,
        "train_domain": "all",
        "eval_domain": "all",
        "max_frames": LAST,
        "rollouts": {
            "exit_frame": frames.tolist(),
            "censored": (frames >= LAST).tolist(),
            "cause": ["" if frame >= LAST else cause for frame in frames],
        },
        "curves": {
            "distance": curve(FRAMES, rollouts(distance, rng)),
            "motion": curve(WINDOWS, rollouts(np.full(len(WINDOWS), 0.1 if method == "recycle" else 0.4), rng, 0.1)),
            "retention": curve(WINDOWS, rollouts(retention, rng, 0.02)),
        },
        "clean_loss": 4.1234e-4,
        "bank": {"bytes": 2**26, "entries": 2048} if method == "recycle" else {"bytes": None, "entries": None},
        "cost": {
            "train_flops": 1e13 * extent,
            "harvest_flops": 4e12 if method == "recycle" else 0.0,
            "eval_flops_used_for_choices": None,
            "updates": 1200,
            "seconds": 93.7,
        },
        "tuning_trials": 3,
    } | extra


def curve(frames, rows):
    return {"frames": frames.tolist(), "mean": np.mean(rows, axis=1).tolist(), "rollouts": rows}


def make_results(cells, bands=None):
    bands = bands or {"bouncing_balls": BANDS}
    rivals = ("b_plus", "noise", "pushforward")
    results = {
        "schema_version": 1,
        "experiment": "quickstart",
        "preset": "small",
        "git": "0123456789abcdef0123456789abcdef01234567",
        "config_sha": "0123456789ab",
        "versions": {"python": "3.11", "jax": "0.10.2"},
        "device": "1 x cpu (2 cores)",
        "bands": {name: value.to_json() for name, value in bands.items()},
        "cells": cells,
        "summary": summarise(cells, bands),
        "headline": headline(cells, bands, method="recycle", rivals=rivals),
    }
    return json.loads(json.dumps(plain(results), allow_nan=False))
