"""From measured rollouts to the summary of a result file, through JSON."""

import json

import jax
import numpy as np
import pytest

from recycle_jax.drift.bands import Bands
from recycle_jax.drift.base import measure
from recycle_jax.drift.cells import curve_of, exits_of, measured
from recycle_jax.drift.monitor import Monitor, log_spaced
from recycle_jax.drift.statistics import Statistics
from recycle_jax.drift.summary import grouped, headline, summarise

FRAMES = log_spaced(256, dense=16)
BANDS = Bands(
    statistics={
        "nonfinite": (0.0, 0.0),
        "distance": (0.0, 0.01),
        "motion": (0.05, 0.2),
        "retention": (0.7, 1.3),
    },
    means={"nonfinite": 0.0, "distance": 5e-4, "motion": 0.1, "retention": 1.0},
    window=8,
    max_frames=256,
    calibration_exit_fraction=0.05,
    real_exit_fraction=0.05,
    calibration_rollouts=100,
    check_rollouts=100,
)


def cell(method, seed, exit_frame, rate=None, **extra):
    rng = np.random.default_rng(seed)
    n = FRAMES.astype(float)
    curve = np.full_like(n, 5e-4) if rate is None else np.minimum(4e-4 * rate**n, 0.5)
    rollouts = (curve[:, None] * np.exp(0.2 * rng.standard_normal((len(n), 16)))).tolist()
    frames = np.array(exit_frame)
    return {
        "world": "discs",
        "generator": "predictor",
        "method": method,
        "seed": seed,
        "train_domain": "all",
        "eval_domain": "all",
        "max_frames": 256,
        "rollouts": {
            "exit_frame": frames.tolist(),
            "censored": (frames >= 256).tolist(),
            "cause": ["" if f >= 256 else "motion+distance" for f in frames],
        },
        "curves": {
            "distance": {"frames": FRAMES.tolist(), "mean": curve.tolist(), "rollouts": rollouts},
            "motion": {"frames": [8, 16, 64, 256], "mean": [0.1, 0.12, 0.13, 0.13]},
            "retention": {"frames": [8, 16, 64, 256], "mean": [1.0] * 4, "rollouts": [[1.0] * 16] * 4},
        },
        "cost": {"train_flops": 1e9 if method == "b" else 1.4e9, "harvest_flops": None},
        "tuning_trials": 3,
        **extra,
    }


def cells():
    return [
        *(cell("b", s, [8] * 16, 1.2) for s in range(3)),
        *(cell("b_plus", s, [16] * 12 + [24] * 4, 1.1) for s in range(3)),
        *(cell("recycle", s, [128] * 4 + [256] * 12) for s in range(3)),
    ]


def test_a_summary_has_the_fields_of_a_result_file():
    summary = json.loads(json.dumps(summarise(cells(), {"discs": BANDS}, law_resamples=20), allow_nan=False))
    assert set(summary) == {f"discs/predictor/{m}" for m in ("b", "b_plus", "recycle")}
    entry, base = summary["discs/predictor/recycle"], summary["discs/predictor/b_plus"]
    assert (entry["horizon_frames"]["median"], entry["horizon_frames"]["censored_fraction"]) == (256, 0.75)
    assert entry["survival"]["256"] == 0.75 and base["survival"]["64"] == 0.0
    assert (entry["growth"]["law"], base["growth"]["law"]) == ("saturating", "exponential")
    assert entry["dynamics_ratio"]["256"][0] == pytest.approx(1.3)
    assert entry["retention"]["16"] == pytest.approx([1.0, 1.0, 1.0])
    assert entry["cost_over_B"] == pytest.approx(1.4)
    assert entry["tuning_trials"] == 3
    assert base["causes"] == {"motion": 1.0, "distance": 1.0}


def test_a_headline_compares_with_every_rival_that_has_cells():
    found = headline(cells(), {"discs": BANDS}, method="recycle", rivals=("b_plus", "noise"))
    ratio = found["horizon_ratios"]["discs/predictor"]["recycle_over_b_plus"]
    assert (ratio["ratio"], ratio["verdict"]) == (16.0, "at_least")
    assert found["paired"]["recycle_over_b_plus"]["wins"] == 3
    assert list(found["paired"]) == ["recycle_over_b_plus"]


def test_cells_of_another_length_or_domain_stand_apart():
    long = cell("b", 0, [1000] * 16) | {"max_frames": 10_000}
    other = cell("b", 0, [8] * 16, eval_domain="three balls")
    assert {"discs/predictor/b@10000", "discs/predictor/b@three balls"} < set(grouped([*cells(), long, other]))
    with pytest.raises(ValueError, match="may stand once"):
        grouped([*cells(), cell("b", 0, [8])])
    with pytest.raises(ValueError, match="no bands"):
        summarise(cells(), {})


def test_a_measurement_becomes_a_cell_and_is_read_back(discs):
    monitor = Monitor(statistics=Statistics(context_frames=2, project=discs.project), window=4, max_frames=16)
    clip = jax.jit(discs.video, static_argnums=(1, 2))(jax.random.key(0), 3, 18)
    seen = jax.jit(lambda clip: measure(monitor, clip[:, :2], clip[:, 2:]))(clip)
    record = json.loads(json.dumps(measured(monitor, seen), allow_nan=False))
    assert (record["max_frames"], record["rollouts"]["cause"]) == (16, ["", "", ""])
    np.testing.assert_array_equal(exits_of(record).exit_frame, [16, 16, 16])
    assert list(curve_of(record, "motion")) == [4, 8, 12, 16]
    np.testing.assert_allclose(curve_of(record, "distance")[5], seen.frames["distance"][4], rtol=1e-3)
    assert "nonfinite" not in record["curves"]
