"""The monitor is a constant-memory fold whose windows, kept places and references are what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.drift.base import Metric, measure, measure_stream
from recycle_jax.drift.monitor import Monitor, log_spaced
from recycle_jax.drift.statistics import Statistics


@pytest.fixture(scope="module")
def clip(discs):
    return jax.jit(discs.video, static_argnums=(1, 2))(jax.random.key(0), 4, 2 + 32)


@pytest.fixture(scope="module")
def monitor(discs):
    statistics = Statistics(context_frames=2, project=discs.project, spectrum=True)
    return Monitor(statistics=statistics, window=4, max_frames=32)


@pytest.fixture(scope="module")
def watch(monitor):
    return jax.jit(lambda clip: measure(monitor, clip[:, :2], clip[:, 2:]))


@pytest.fixture(scope="module")
def seen(watch, clip):
    return watch(clip)


def test_a_monitor_is_a_metric(monitor):
    assert isinstance(monitor, Metric)


def test_windows_are_means_over_frames_and_extremes_are_over_windows(monitor, clip, seen):
    motion = np.mean(np.diff(np.asarray(clip), axis=1)[:, 1:] ** 2, axis=(2, 3, 4))
    windows = motion.reshape(4, 8, 4).mean(axis=2)
    places = monitor.kept_windows - 1
    np.testing.assert_allclose(seen.windows["motion"], windows[:, places].T, rtol=1e-4)
    np.testing.assert_allclose(seen.frames["motion"], motion[:, monitor.kept_frames - 1].T, rtol=1e-4)
    np.testing.assert_allclose(seen.extremes.minimum["motion"], windows.min(axis=1), rtol=1e-4)
    np.testing.assert_allclose(seen.extremes.maximum["motion"], windows.max(axis=1), rtol=1e-4)
    np.testing.assert_allclose(seen.extremes.mean["motion"], windows.mean(axis=1), rtol=1e-4)


def test_without_bands_only_nonfinite_frames_exit(monitor, clip, seen, watch):
    assert np.all(seen.censored) and np.all(np.asarray(seen.exit_frame) == 32)
    broken = clip.at[1, 2 + 9].set(jnp.inf)
    left = watch(broken)
    np.testing.assert_array_equal(left.exit_frame, [32, 8, 32, 32])
    assert monitor.causes(np.asarray(left.cause)) == ["", "nonfinite", "", ""]


@pytest.fixture(scope="module")
def add_frame(monitor):
    return jax.jit(monitor.statistics.update)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 0.0], ids=str)
def test_every_statistic_of_garbage_is_finite(monitor, clip, add_frame, value):
    statistics = monitor.statistics
    history = statistics.init(clip[:, :2])
    for _ in range(2):
        history, values = add_frame(history, jnp.full_like(clip[:, 0], value))
    assert set(values) == set(statistics.names)
    assert all(np.all(np.isfinite(v)) for v in values.values()), values
    assert np.all(np.asarray(values["nonfinite"]) == (not np.isfinite(value)))


def test_a_projection_or_mass_that_fails_lies_outside_every_band(clip):
    statistics = Statistics(context_frames=1, mass=lambda frame: jnp.nan * frame.mean())
    _, values = statistics.update(statistics.init(clip[:, :1]), clip[:, 1])
    assert np.all(np.asarray(values["retention"]) > 1e6)


def test_retention_is_relative_to_the_own_context_and_contrast_where_asked(clip):
    dim = 0.5 * (clip + 1.0) - 1.0
    statistics = Statistics(context_frames=2, relative=("retention", "contrast"))
    _, values = statistics.update(statistics.init(clip[:, :2]), dim[:, 1])
    np.testing.assert_allclose(values["retention"], 0.5, rtol=0.05)
    np.testing.assert_allclose(values["contrast"], 0.5, rtol=0.05)


def test_streaming_and_recorded_frames_measure_the_same(monitor, clip, seen):
    def step(index):
        return index + 1, clip[:, index]

    streamed = jax.jit(lambda: measure_stream(monitor, clip[:, :2], step, jnp.int32(2), 32))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), streamed, seen)


def test_memory_grows_with_the_logarithm_of_the_length(discs):
    def size(max_frames):
        monitor = Monitor(statistics=Statistics(context_frames=2), window=8, max_frames=max_frames)
        return sum(x.size for x in jax.tree.leaves(jax.eval_shape(monitor.init, jnp.zeros((4, 2, 8, 8, 1)))))

    assert size(2**20) - size(2**19) == size(2**12) - size(2**11) > 0


def test_log_spaced_places_start_dense_and_end_at_the_last():
    np.testing.assert_array_equal(log_spaced(12, per_octave=2), [1, 2, 3, 4, 6, 8, 11, 12])
    assert list(log_spaced(1024, dense=16)[:16]) == list(range(1, 17))
    assert len(log_spaced(2**20)) < 90


def test_bad_settings_are_refused(clip):
    with pytest.raises(ValueError, match="multiple of window=8"):
        Monitor(statistics=Statistics(context_frames=2), window=8, max_frames=30)
    with pytest.raises(ValueError, match="colour"):
        Statistics(context_frames=2, relative=("colour",))
    with pytest.raises(ValueError, match="at least 1"):
        Statistics(context_frames=0)
    with pytest.raises(ValueError, match="at least 4 clean"):
        Statistics(context_frames=4, project=lambda window: window[-1]).init(clip[:, :2])


def test_a_thing_that_turns_into_another_leaves_by_its_identity():
    """Two things, told apart by their side's brightness; from frame 9 on the left one is the other kind."""

    def kinds(window):
        return (window[-1].mean(axis=(0, 2)) > 0).astype(jnp.int32)  # one thing a column

    frames = jnp.broadcast_to(jnp.array([-0.5, 0.5]), (1, 2 + 16, 4, 2)).reshape(1, 18, 4, 2, 1)
    swapped = frames.at[:, 2 + 8 :, :, 0].multiply(-1.0)
    statistics = Statistics(context_frames=2, identify=kinds)
    assert statistics.names[-1] == "identity"
    monitor = Monitor(statistics=statistics, window=4, max_frames=16)
    np.testing.assert_array_equal(measure(monitor, frames[:, :2], frames[:, 2:]).windows["identity"], 1.0)
    seen = measure(monitor, swapped[:, :2], swapped[:, 2:])
    np.testing.assert_allclose(seen.extremes.minimum["identity"], 0.5)
    np.testing.assert_allclose(seen.frames["identity"][monitor.kept_frames <= 8], 1.0)
