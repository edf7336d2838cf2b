"""What drift measures must call by name: real video stays, every way to cheat a drift score exits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.drift.bands import Tolerance, calibrate
from recycle_jax.drift.base import measure
from recycle_jax.drift.monitor import Monitor
from recycle_jax.drift.statistics import Statistics

CONTEXT, WINDOW, FRAMES, ROWS = 2, 8, 128, 32


@pytest.fixture(scope="module")
def real(discs):
    make = jax.jit(discs.video, static_argnums=(1, 2))
    return [make(jax.random.key(seed), ROWS, CONTEXT + FRAMES) for seed in range(3)]


@pytest.fixture(scope="module")
def bands(discs, real):
    monitor = Monitor(
        statistics=Statistics(context_frames=CONTEXT, project=discs.project), window=WINDOW, max_frames=FRAMES
    )
    tolerances = {
        "distance": Tolerance(hi_at_least=discs.half_pixel()),
        "retention": Tolerance(lo_at_most=0.75, hi_at_least=1.25),
        "motion": Tolerance(factor=1.25),
        "sharpness": Tolerance(factor=1.25),
        "contrast": Tolerance(factor=1.25),
    }
    extremes = [run(monitor, clip).extremes for clip in real[:2]]
    return calibrate(*extremes, window=WINDOW, max_frames=FRAMES, tolerances=tolerances)


@functools.partial(jax.jit, static_argnums=0)
def run(monitor, clip):
    return measure(monitor, clip[:, :CONTEXT], clip[:, CONTEXT:])


def judged(discs, bands, frames, clip):
    """Returns the fraction that stays, and for each cause the fraction of rollouts it ended."""
    statistics = Statistics(context_frames=CONTEXT, project=discs.project)
    monitor = Monitor(statistics=statistics, window=WINDOW, max_frames=FRAMES, bands=bands)
    seen = run(monitor, jnp.concatenate([clip[:, :CONTEXT], frames], axis=1))
    causes = monitor.causes(np.asarray(seen.cause))
    assert all((cause == "") == bool(kept) for cause, kept in zip(causes, seen.censored, strict=True))
    assert np.all(np.asarray(seen.exit_frame)[np.asarray(seen.censored)] == FRAMES)
    fractions = {name: np.mean([name in cause for cause in causes]) for name in statistics.names}
    return float(seen.censored.mean()), fractions


def blur(frames):
    for _ in range(2):
        for axis in (2, 3):
            frames = (jnp.roll(frames, 1, axis) + 2.0 * frames + jnp.roll(frames, -1, axis)) / 4.0
    return frames


def fade(frames):
    level = 0.97 ** jnp.arange(frames.shape[1], dtype=jnp.float32)
    return level[None, :, None, None, None] * (frames + 1.0) - 1.0


def fill(frames):
    level = 0.97 ** jnp.arange(frames.shape[1], dtype=jnp.float32)
    return 1.0 - level[None, :, None, None, None] * (1.0 - frames)


def jitter(frames):
    return frames.at[:, ::2].set(jnp.roll(frames[:, ::2], 2, axis=3))


def merge(frames):
    """The lower disc vanishes, as if swallowed by the other."""
    return frames.at[:, :, frames.shape[2] // 2 :].set(-1.0)


def broken(frames):
    return frames.at[:, 20, 3, 3].set(jnp.nan)


def test_real_video_stays(discs, bands, real):
    stays, causes = judged(discs, bands, real[2][:, CONTEXT:], real[2])
    assert stays >= 0.9, f"real video was judged to drift: {stays:.0%} stay, causes {causes}"


@pytest.mark.parametrize(
    ("control", "allowed"),
    [
        (lambda frames: jnp.broadcast_to(frames[:1, :1], frames.shape), {"motion"}),
        (lambda frames: jnp.broadcast_to(frames[:, :1], frames.shape), {"motion"}),
        (fade, {"retention", "contrast"}),
        (blur, {"sharpness", "distance"}),
        (fill, {"retention", "distance", "contrast"}),
        (jitter, {"motion"}),
        (merge, {"retention", "distance"}),
        (broken, {"nonfinite"}),
        (lambda frames: jnp.full_like(frames, -1.0), {"retention", "motion"}),
        (lambda frames: jax.random.rademacher(jax.random.key(9), frames.shape, frames.dtype), {"distance"}),
    ],
    ids=["static", "copy_last", "faded", "blurred", "filled", "jitter", "merged", "nan", "erased", "garbage"],
)
def test_cheats_exit_by_what_they_are(discs, bands, real, control, allowed):
    stays, causes = judged(discs, bands, control(real[2][:, CONTEXT:]), real[2])
    named = {name for name, fraction in causes.items() if fraction > 0.9}
    assert stays == 0.0, f"{stays:.0%} of the control's rollouts were judged real; causes {causes}"
    assert named & allowed, f"the control should exit by {allowed}, it exited by {causes}"


def test_exit_frame_is_the_first_frame_of_the_first_bad_window(discs, bands, real):
    clip = real[2].at[:, CONTEXT + 20 :].set(-1.0)
    statistics = Statistics(context_frames=CONTEXT, project=discs.project)
    seen = run(Monitor(statistics=statistics, window=WINDOW, max_frames=FRAMES, bands=bands), clip)
    assert (np.asarray(seen.exit_frame) == 16).mean() >= 0.9, np.asarray(seen.exit_frame)


def test_nothing_but_the_guilty_statistic_is_named(discs, bands, real):
    """Copy-last is valid, sharp and whole: nothing but motion may be blamed."""
    frames = jnp.broadcast_to(real[2][:, 1:2], real[2][:, CONTEXT:].shape)
    _, causes = judged(discs, bands, frames, real[2])
    assert {name for name, fraction in causes.items() if fraction > 0} == {"motion"}, causes
