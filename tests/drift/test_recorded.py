"""A rollout of recorded video that hardly moves any more is frozen, however real each of its frames looks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.drift.bands import calibrate
from recycle_jax.drift.base import measure
from recycle_jax.drift.cells import measured
from recycle_jax.drift.monitor import Monitor
from recycle_jax.drift.recorded import recorded_statistics, recorded_tolerances
from recycle_jax.drift.statistics import FROZEN_BELOW, RELATIVE_MOTION, Statistics
from recycle_jax.report.failures import failures

CONTEXT, WINDOW, FRAMES, ROWS = 2, 8, 64, 24


@pytest.fixture(scope="module")
def real(discs):
    make = jax.jit(discs.video, static_argnums=(1, 2))
    return [make(jax.random.key(seed), ROWS, CONTEXT + FRAMES) for seed in range(3)]


@pytest.fixture(scope="module")
def monitor(real):
    statistics = recorded_statistics(CONTEXT, WINDOW)
    monitor = Monitor(statistics=statistics, window=WINDOW, max_frames=FRAMES)
    extremes = [measure(monitor, clip[:, :CONTEXT], clip[:, CONTEXT:]).extremes for clip in real[:2]]
    bands = calibrate(*extremes, window=WINDOW, max_frames=FRAMES, tolerances=recorded_tolerances(statistics))
    # The wide band of recorded motion, which takes a still picture for a thing at rest.
    wide = {**bands.statistics, "motion": (0.0, 10.0)}
    return dataclasses.replace(monitor, bands=dataclasses.replace(bands, statistics=wide))


def watched(monitor, clip):
    seen = measure(monitor, clip[:, :CONTEXT], clip[:, CONTEXT:])
    return seen, monitor.causes(np.asarray(seen.cause))


def test_real_video_is_not_frozen(monitor, real):
    assert monitor.bands.statistics[RELATIVE_MOTION] == (FROZEN_BELOW, 1.0)
    seen, _ = watched(monitor, real[2])
    assert np.mean(seen.censored) >= 0.9


def test_a_still_picture_is_frozen_within_a_few_windows(monitor, real):
    still = real[2].at[:, CONTEXT + 8 :].set(real[2][:, CONTEXT + 7 : CONTEXT + 8])
    seen, causes = watched(monitor, still)
    assert set(causes) == {RELATIVE_MOTION}
    # Means over T frames fall below a tenth after T ln 10 = 2.3 T frames, and are seen at the end of a window.
    assert np.all(np.asarray(seen.exit_frame) >= 8 + WINDOW) and np.all(np.asarray(seen.exit_frame) <= 8 + 4 * WINDOW)
    cell = measured(monitor, jax.device_get(seen))
    assert failures([cell], monitor.bands.to_json()) == {"frozen": 1.0}


def test_motion_counts_against_its_own_start(monitor, real):
    """A hundredth of a lively clip's motion is frozen; a clip that always moved that little is not."""
    mean = real[2].mean(axis=1, keepdims=True)
    faint = mean + 0.1 * (real[2] - mean)
    update = monitor.statistics
    state, values = update.init(faint[:, :CONTEXT]), {}
    for frame in range(8):
        state, values = update.update(state, faint[:, CONTEXT + frame])
    assert float(values[RELATIVE_MOTION].min()) > 0.3


def test_a_start_of_one_frame_twice_cannot_be_judged_as_frozen(real):
    statistics = recorded_statistics(CONTEXT, WINDOW)
    state = statistics.init(jnp.repeat(real[0][:, :1], CONTEXT, axis=1))
    _, values = statistics.update(state, real[0][:, 1])
    np.testing.assert_array_equal(values[RELATIVE_MOTION], 1.0)
    with pytest.raises(ValueError, match="give at least 2 clean frames"):
        statistics.init(real[0][:, :1])


def test_statistics_of_published_bands_stay_as_they_are():
    assert RELATIVE_MOTION not in Statistics(context_frames=2).names
    assert RELATIVE_MOTION not in recorded_statistics(2, None).names
    with pytest.raises(ValueError, match="motion_frames=0"):
        Statistics(context_frames=2, motion_frames=0)
